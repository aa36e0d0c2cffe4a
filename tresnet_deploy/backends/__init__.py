"""The engines: one module each, all satisfying contracts.Backend, and which is tried first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tresnet_deploy.contracts import Precision

# Measured by bench/engines.py on an AMD EPYC with AVX-512 VNNI and bf16, TResNet-M and L at batch 1
# and 8; CPUs with AMX spread them more, in the same order. A backend for GPUs goes to the front: it
# is passed over where its probe finds no GPU.
PREFERENCE: Final[Mapping[Precision, tuple[tuple[str, str], ...]]] = {
    "fp32": (
        ("openvino", "the fastest FP32 engine for CPUs, 1 to 4 % ahead of ONNX Runtime"),
        ("onnxruntime", "within 4 % of OpenVINO in FP32"),
        ("pytorch", "needs nothing but PyTorch"),
    ),
    "fp16": (
        ("openvino", "computes fp16 where the CPU does"),
        ("onnxruntime", "runs fp16 graphs anywhere, on a CPU slower than fp32"),
    ),
    "bf16": (
        ("openvino", "the fastest bf16 engine for CPUs, twice as fast as FP32"),
        ("pytorch", "needs nothing but PyTorch"),
    ),
    "int8": (
        ("openvino", "the fastest INT8 engine for CPUs, 10 to 20 % ahead of ONNX Runtime"),
        ("onnxruntime", "the second fastest INT8 engine for CPUs, 3 times as fast as FP32"),
    ),
}
