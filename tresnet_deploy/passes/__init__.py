"""Graph rewrites: one a file, each with ``apply(model) -> Outcome``.

All are exact but quantize-outputs, which rounds what calibration has a range for.
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

DEFAULT_ORDER: Final[dict[str, tuple[str, ...]]] = {
    # Every engine profits from these, or nobody is hurt.
    "export": (
        "fold-batch-norm",  # finds none after deploy_form, which folds in float64
        "constant-queries",  # ML-Decoder: drops the Expand of the queries to the batch
    ),
    "openvino": (
        "inline-operators",  # OpenVINO 2026.4 reads no model-local functions
        "clip-relu",  # INT8 only: 1 to 2 % faster, the same integers
    ),
    "onnxruntime": (
        "inline-operators",  # so that the next see the convolutions of the blurs
        "float-residuals",  # fewer DequantizeLinear, which it runs on one thread
        "quantize-outputs",  # else INT8 convolutions run in float: 0.8 instead of 3 times FP32
        "unsigned-activations",  # its int8 x int8 kernels are the slow ones
        "positive-activations",
        "integer-blur",
        "pointwise-products",
        "integer-means",
        "integer-gates",
    ),
    # Both read model-local functions, by which a plugin can be told apart.
    "tensorrt": ("cast-bytes-first",),  # they refuse to move bytes
    "tensorrt-rtx": ("cast-bytes-first",),
}


def order_for(stage: str) -> tuple[str, ...]:
    """Return the passes that are on by default for ``stage``: a backend's name or "export"."""
    return DEFAULT_ORDER.get(stage, ())


def run(model: ir.Model, names: tuple[str, ...]) -> tuple[tuple[str, Outcome], ...]:
    """Rewrite ``model`` in place by the named passes, in that order, and say what each changed.

    Raises:
        UsageError: no pass has one of these names.
    """
    return tuple((name, PASSES.load(name).apply(model)) for name in names)
