"""Graph rewrites: one a file, each with ``apply(model) -> Outcome``.

Exact, but for what runs on rounded integers: quantize-outputs rounds what calibration has a range
for; float-residuals and pointwise-products round less than before; integer-blur rounds its result;
positive-activations and saturating-relus keep what int8 would saturate.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes._pairs import AMAX
from tresnet_deploy.registry import PASSES

# In no order, because bench/passes.py found no gain on an AVX-512 CPU, for TResNet-M and -L, in
# FP32 and INT8, on OpenVINO and ONNX Runtime (throughput over that of the default order; two builds
# of one graph differ by up to 0.02):
#   fold-stem       0.99 to 1.01
#   edge-only-pad   0.98 to 1.01
#   pad-channels    0.89 to 0.93 of L in multiples of 32, 0.98 to 1.01 of 16; `quantize` applies it
#                   where pad_channels.pays_on says so
# Rounding what INT8 convolutions hand to SE and additions was 0 to 1 % faster on OpenVINO and cost
# 0.8 dB of 31 dB: not kept.
# Nor are leaky-into-blur and plugin-operators, which are for TensorRT's plugins and on request.
__all__ = ["AMAX", "DEFAULT_ORDER", "order_for", "run"]

_OVERFLOW_SAFE: Final = "float-signed-inputs"  # only for CPUs that need it
DEFAULT_ORDER: Final[dict[str, tuple[str, ...]]] = {
    # Every engine profits from these, or nobody is hurt.
    "export": (
        "fold-batch-norm",  # finds none after deploy_form, which folds in float64
        "constant-queries",  # ML-Decoder: drops the Expand of the queries to the batch
    ),
    "openvino": (
        "inline-operators",  # OpenVINO 2026.4 reads no model-local functions
        _OVERFLOW_SAFE,
        "positive-activations",  # INT8 only: see there
    ),
    "onnxruntime": (
        "inline-operators",  # so that the next see the convolutions of the blurs
        _OVERFLOW_SAFE,
        "float-residuals",  # fewer DequantizeLinear, which it runs on one thread
        "quantize-outputs",  # else INT8 convolutions run in float: 0.8 instead of 3 times FP32
        "positive-activations",  # without VNNI right results, with it no table lookups for ReLUs
        "unsigned-activations",  # its int8 x int8 kernels are the slow ones
        "saturating-relus",
        "integer-blur",
        "pointwise-products",
        "integer-means",
    ),
    # Both read model-local functions, by which a plugin can be told apart.
    "tensorrt": ("cast-bytes-first",),  # they refuse to move bytes
    "tensorrt-rtx": ("cast-bytes-first",),
}


def order_for(stage: str, *, overflow_safe: bool = False) -> tuple[str, ...]:
    """Return the passes that are on by default for ``stage``: a backend's name or "export".

    ``overflow_safe``: for a CPU that adds two products of bytes in 16 bits.
    """
    names = DEFAULT_ORDER.get(stage, ())
    return tuple(name for name in names if overflow_safe or name != _OVERFLOW_SAFE)


def run(model: ir.Model, names: tuple[str, ...]) -> tuple[tuple[str, Outcome], ...]:
    """Rewrite ``model`` in place by the named passes, in that order, and say what each changed.

    Raises:
        UsageError: no pass has one of these names.
    """
    return tuple((name, PASSES.load(name).apply(model)) for name in names)
