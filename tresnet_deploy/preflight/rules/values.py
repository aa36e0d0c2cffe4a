"""TRT050 to TRT052: numbers in the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array
from tresnet_deploy.preflight.rules._constants import weights
from tresnet_deploy.preflight.rules._rule import Match, Rule, Subject

_FLOAT16_MAX: Final = float(np.finfo(np.float16).max)
_FLOAT32_TINY: Final = float(np.finfo(np.float32).tiny)  # the smallest that is not denormal
_WIDE: Final = (ir.DataType.FLOAT, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def _not_finite(subject: Subject) -> Iterator[Match]:
    names = tuple(
        name
        for name, _, array in weights(subject)
        if not (np.isfinite(array).all() or _is_mask(array))
    )
    if names:
        yield Match(message="these hold NaN or infinity", nodes=names)


def _beyond_float16(subject: Subject) -> Iterator[Match]:
    largest = {name: _largest(array) for name, dtype, array in weights(subject) if dtype in _WIDE}
    names = tuple(name for name, amax in largest.items() if amax > _FLOAT16_MAX)
    if names:
        worst = max(largest.values())
        yield Match(message=f"up to {worst:.3g}, where FP16 ends at {_FLOAT16_MAX:g}", nodes=names)


def _denormal(subject: Subject) -> Iterator[Match]:
    names = []
    for name, dtype, array in weights(subject):
        if dtype in _WIDE:
            size = np.abs(array)
            if np.any((size > 0) & (size < _FLOAT32_TINY)):
                names.append(name)
    if names:
        yield Match(message="numbers below 1.2e-38, which GPUs take for 0", nodes=tuple(names))


def _is_mask(array: Array) -> bool:
    """Whether this is what an attention adds: 0, and minus infinity for what it must not see."""
    return bool(np.all((array == 0) | np.isneginf(array))) and bool(np.any(array == 0))


def _largest(array: Array) -> float:
    finite = array[np.isfinite(array)]
    return float(np.abs(finite).max()) if finite.size else 0.0


RULES: Final = (
    Rule(
        id="TRT050",
        severity="error",
        title="weights that are no numbers",
        remedy="the training diverged or a conversion overflowed: take an earlier checkpoint",
        find=_not_finite,
    ),
    Rule(
        id="TRT051",
        severity="warning",
        title="weights beyond FP16",
        remedy="stay in FP32 or bf16; or scale these weights down and the next layer's up",
        find=_beyond_float16,
    ),
    Rule(
        id="TRT052",
        severity="warning",
        title="denormal weights",
        remedy="set them to 0; a CPU computes with them up to a hundred times slower",
        find=_denormal,
    ),
)
