"""The engines: one module each, all satisfying contracts.Backend, and which is tried first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tresnet_deploy.contracts import Precision

# What cannot run without an NVIDIA GPU: passed over where none is visible.
NEED_GPU: Final = frozenset({"tensorrt", "tensorrt-rtx"})

# CPU engines: measured by bench/engines.py on an AMD EPYC with AVX-512 VNNI and bf16, TResNet-M and
# L at batch 1 and 8; CPUs with AMX spread them more, in the same order. Engines for GPUs stand in
# front, by what their makers say of them: not measured here.
PREFERENCE: Final[Mapping[Precision, tuple[tuple[str, str], ...]]] = {
    "fp32": (
        ("tensorrt", "chooses its kernels by timing them on this GPU"),
        ("tensorrt-rtx", "compiles its kernels for this GPU"),
        ("openvino", "the fastest FP32 engine for CPUs, 1 to 4 % ahead of ONNX Runtime"),
        ("onnxruntime", "within 4 % of OpenVINO in FP32"),
        ("pytorch", "needs nothing but PyTorch"),
    ),
    "fp16": (
        ("tensorrt", "chooses its kernels by timing them on this GPU"),
        ("tensorrt-rtx", "compiles its kernels for this GPU"),
        ("openvino", "computes fp16 where the CPU does"),
        ("onnxruntime", "runs fp16 graphs anywhere, on a CPU slower than fp32"),
    ),
    "bf16": (
        ("tensorrt", "chooses its kernels by timing them on this GPU"),
        ("tensorrt-rtx", "compiles its kernels for this GPU"),
        ("openvino", "the fastest bf16 engine for CPUs, twice as fast as FP32"),
        ("pytorch", "needs nothing but PyTorch"),
    ),
    "int8": (
        ("tensorrt", "chooses its kernels by timing them on this GPU"),
        # Its INT8 convolutions write floats, which a kernel of their own rounds again: no promise.
        ("tensorrt-rtx", "compiles its kernels for this GPU"),
        ("openvino", "the fastest INT8 engine for CPUs, 10 to 20 % ahead of ONNX Runtime"),
        ("onnxruntime", "the second fastest INT8 engine for CPUs, 1.7 to 3 times as fast as FP32"),
    ),
    "fp8": (
        ("tensorrt", "chooses its kernels by timing them on this GPU"),
        ("tensorrt-rtx", "compiles its kernels for this GPU"),
    ),
}
