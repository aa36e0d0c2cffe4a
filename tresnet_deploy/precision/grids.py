"""The numbers that quantised tensors are made of: what INT8 and FP8 differ in, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tresnet_deploy.contracts import Array
from tresnet_deploy.errors import ArtifactError


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Symmetric numbers up to ``limit``, stored as ``dtype``; a scale maps a range onto them.

    ``accumulates`` says that sums of products, bias included, are kept in int32.
    """

    name: str
    dtype: ir.DataType
    limit: int
    accumulates: bool
    opset: int

    def rounded(self, steps: npt.NDArray[np.float64]) -> Array:
        """Return ``steps`` as numbers of this grid: the nearest, ties to even, saturating."""
        clipped = np.clip(steps, -self.limit, self.limit)
        whole = np.rint(clipped) if self.dtype == ir.DataType.INT8 else clipped
        return np.asarray(whole.astype(self.dtype.numpy()))

    def holds(self, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return where ``steps`` are numbers of this grid already."""
        return np.asarray(self.rounded(steps).astype(np.float64) == steps)


INT8: Final = Grid(name="int8", dtype=ir.DataType.INT8, limit=127, accumulates=True, opset=10)
FP8: Final = Grid(
    name="fp8",
    dtype=ir.DataType.FLOAT8E4M3FN,
    limit=448,  # E4M3's largest number: Micikevicius et al., FP8 formats for deep learning
    accumulates=False,
    opset=19,  # the first whose Q/DQ take float8
)
_GRIDS: Final = (INT8, FP8)


def grid_of(value: ir.Value) -> Grid:
    """Return the grid that ``value`` is on.

    Raises:
        ArtifactError: it is none that TensorRT takes, such as uint8.
    """
    for grid in _GRIDS:
        if value.dtype == grid.dtype:
            return grid
    raise ArtifactError(
        f"{value.name} is quantised to {value.dtype}; INT8 and FP8 (E4M3) are known here",
        hints=("tresnet-deploy quantize, for a graph that every engine takes",),
    )
