"""Engines that are only files: a plan's header written by hand, and an OpenVINO pair."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import (
    Artifact,
    Batch,
    FileDigest,
    Labels,
    Precision,
    Preprocess,
    Source,
)
from tresnet_deploy.contracts import TensorSpec as Spec
from tresnet_deploy.gpus import Gpu
from tresnet_deploy.trust import Machine

PLAN_BYTES = 4096
RTX_MASK = 2 | 4 | 8
ADA = Gpu(name="NVIDIA GeForce RTX 4090", capability=(8, 9), memory_mib=24_564)
HOPPER = Gpu(name="NVIDIA H100", capability=(9, 0), memory_mib=81_559)
TURING = Gpu(name="Tesla T4", capability=(7, 5), memory_mib=15_360)
CPU = "Some CPU (AVX2, AVX-512 bf16)"
VERSIONS = {
    "openvino": "2026.4.1",
    "onnxruntime": "1.32.0",
    "tensorrt": "11.4.0.12",
    "tensorrt-rtx": "1.7.1.116",
}

MakeEngine = Callable[..., Artifact]


def plan(
    magic: bytes = b"vtrt",
    *,
    version: tuple[int, int, int, int] = (1, 7, 1, 116),
    size: int = PLAN_BYTES,
    mask: int = RTX_MASK,
) -> bytes:
    """Return bytes that begin as a plan does."""
    head = bytearray(PLAN_BYTES)
    head[:4] = magic
    struct.pack_into("<Q", head, 16, size)
    head[24:28] = bytes(version)
    struct.pack_into("<I", head, 32, mask)
    return bytes(head)


def machine(*gpus: Gpu, version: str = VERSIONS["tensorrt-rtx"], **more: Any) -> Machine:
    """Return a machine with these GPUs and this version of the engine's runtime."""
    return Machine(gpus=gpus, version=version, **more)


@pytest.fixture
def make_engine(tmp_path: Path) -> MakeEngine:
    """Publish bytes as the engine of a backend, with a graph beside it."""

    def make(
        backend: str = "tensorrt-rtx",
        data: bytes | None = None,
        *,
        device: str = "GPUs of compute capability 8.0, 8.6, 8.9",
        suffix: str = ".engine",
        companion: bool = False,
        precision: Precision = "fp16",
        version: str | None = None,
        **settings: str | bool,
    ) -> Artifact:
        graph = tmp_path / "tresnet.onnx"
        graph.write_bytes(b"graph")
        described = Artifact(
            path=Path("unset"),
            kind="engine",
            step="build-engine",
            sha256="",
            architecture="tresnet_m",
            precision=precision,
            inputs=(Spec(name="images", dtype="float32", shape=("batch", 3, 64, 64)),),
            outputs=(Spec(name="logits", dtype="float32", shape=("batch", 10)),),
            preprocess=Preprocess(height_px=64, width_px=64),
            labels=Labels(classes=10),
            source=Source(kind="random", location="", sha256="0" * 64, seed=0),
            parents=(FileDigest(name=graph.name, sha256=artifacts.sha256_of(graph)),),
            backend=backend,
            batch=Batch(min=1, opt=4, max=8),
            device=device,
            settings=settings,
            versions={backend: version or VERSIONS[backend]},
        )
        path = tmp_path / f"tresnet.fp16.{backend}{suffix}"
        with artifacts.publishing(path, overwrite=True) as staging:
            staging.path.write_bytes(plan() if data is None else data)
            if companion:
                staging.path.with_suffix(".bin").write_bytes(b"weights")
            return staging.finish(described)

    return make
