"""NVIDIA's own command for a measurement: this file is about trtexec's and tensorrt_rtx's flags.

It measures what a row of ours does: one engine, one shape, the same graph, copies and waiting. The
meaning of no flag changed from TensorRT 10 to 11 so much as its defaults: 11 replays a CUDA graph,
copies nothing and spins, and has flags to turn each off; 10 and TensorRT-RTX's tool have flags to
turn each on. So every command pins all three. Not run here: it needs a GPU.
"""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Final

from tresnet_deploy.contracts import TensorSpec

_FIRST_WITH_GRAPHS: Final = 11  # of trtexec: sampleOptions.cpp of TensorRT 11
_MS_PER_S: Final = 1000


def command(
    path: Path,
    inputs: tuple[TensorSpec, ...],
    *,
    batch: int,
    backend: str,
    version: str,
    cuda_graph: bool,
    transfers: bool,
    seconds: float,
    warmup_s: float,
) -> str:
    """Return the command that times the engine ``path`` at ``batch``; ``version`` is its runtime's.

    ``seconds`` is the whole time that a row of ours is measured for.
    """
    rtx = backend == "tensorrt-rtx"
    flags = [
        "tensorrt_rtx" if rtx else "trtexec",
        f"--loadEngine={path}",
        *_shapes(inputs, batch),
        f"--warmUp={math.ceil(warmup_s * _MS_PER_S)}",
        f"--duration={math.ceil(seconds)}",
        "--percentile=50,90,99",
        *_switches(cuda_graph=cuda_graph, transfers=transfers, on_by_default=_is_new(version, rtx)),
    ]
    return shlex.join(flags)


def _is_new(version: str, rtx: bool) -> bool:
    major = version.partition(".")[0]
    return not rtx and (not major.isdecimal() or int(major) >= _FIRST_WITH_GRAPHS)


def _switches(*, cuda_graph: bool, transfers: bool, on_by_default: bool) -> list[str]:
    if on_by_default:
        return ["--noCudaGraph"] * (not cuda_graph) + ["--includeDataTransfers"] * transfers
    return (
        ["--useCudaGraph"] * cuda_graph
        + ["--noDataTransfers"] * (not transfers)
        + ["--useSpinWait"]
    )


def _shapes(inputs: tuple[TensorSpec, ...], batch: int) -> list[str]:
    """Return the shapes, where there are any to choose; other open sides are the user's to fill."""
    if not any(isinstance(size, str) for spec in inputs for size in spec.shape):
        return []
    texts = []
    for spec in inputs:
        sizes = [batch if axis == 0 else size for axis, size in enumerate(spec.shape)]
        texts.append(f"{spec.name}:{'x'.join(map(str, sizes))}")
    return [f"--shapes={','.join(texts)}"]
