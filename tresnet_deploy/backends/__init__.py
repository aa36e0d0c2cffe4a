"""The engines: one module each, all satisfying contracts.Backend, and which is tried first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tresnet_deploy.contracts import Precision

# What bench/engines.py measures on CPUs without and with AMX. A backend for GPUs goes to the front:
# it is passed over where its probe finds no GPU.
PREFERENCE: Final[Mapping[Precision, tuple[tuple[str, str], ...]]] = {
    "fp32": (
        ("openvino", "the fastest FP32 engine for CPUs, ahead of ONNX Runtime by up to 5 %"),
        ("onnxruntime", "within 5 % of OpenVINO in FP32"),
        ("pytorch", "needs nothing but PyTorch"),
    ),
    "fp16": (
        ("openvino", "computes fp16 where the CPU does"),
        ("onnxruntime", "runs fp16 graphs anywhere, on a CPU slower than fp32"),
    ),
    "bf16": (
        ("openvino", "the fastest bf16 engine for CPUs, twice its own FP32"),
        ("pytorch", "needs nothing but PyTorch"),
    ),
    "int8": (
        ("openvino", "the fastest INT8 engine for CPUs, 3 times its own FP32 and more"),
        ("onnxruntime", "the second fastest INT8 engine for CPUs"),
    ),
}
