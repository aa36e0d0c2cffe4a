"""The constants of a graph that can be read: weights, scales and zero points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array
from tresnet_deploy.preflight.rules._rule import Subject, dtype_of

# Here infinity and the largest float are bounds and fillings, not weights.
_BOUNDS: Final = frozenset(("Clip", "ConstantOfShape", "Pad", "Range", "Where"))
_READABLE_FLOATS: Final = (
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
)


def array_of(value: ir.Value | None) -> Array | None:
    """Return the array of a constant, None for what is computed, absent or in a bad file."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or isinstance(tensor, ir.ExternalTensor):
        return None
    return np.asarray(tensor.numpy())


def weights(subject: Subject) -> Iterator[tuple[str, ir.DataType, Array]]:
    """Give name, type and values of each float constant that is computed with.

    bfloat16 comes as float32, which holds the same numbers.
    """
    seen: set[ir.Value] = set()
    for node in subject.nodes:
        for value in node.inputs:
            if value is None or value in seen or _is_bound(value):
                continue
            seen.add(value)
            dtype = dtype_of(value)
            if dtype not in _READABLE_FLOATS:
                continue
            array = array_of(value)
            if array is not None and array.size:
                wide = array.astype(np.float32) if dtype == ir.DataType.BFLOAT16 else array
                yield value.name or "a constant", dtype, wide


def _is_bound(value: ir.Value) -> bool:
    readers = value.consumers()
    return bool(readers) and all(reader.op_type in _BOUNDS for reader in readers)
