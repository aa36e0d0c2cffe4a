"""NVIDIA's own command for a row pins what its versions have different defaults for."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tresnet_deploy import trtexec
from tresnet_deploy.contracts import TensorSpec

IMAGES = TensorSpec(name="images", dtype="float32", shape=("batch", 3, 224, 224))


def flags(**changes: object) -> list[str]:
    settings: dict[str, object] = {
        "batch": 8,
        "backend": "tensorrt",
        "version": "11.4.0.106",
        "cuda_graph": False,
        "transfers": False,
        "seconds": 7.0,
        "warmup_s": 5.0,
    }
    inputs = changes.pop("inputs", (IMAGES,))
    path = changes.pop("path", Path("deploy/m.engine"))
    return shlex.split(trtexec.command(path, inputs, **{**settings, **changes}))  # type: ignore[arg-type]


def test_the_command_runs_the_same_engine_as_long_at_the_same_shape() -> None:
    assert flags()[:6] == [
        "trtexec",
        "--loadEngine=deploy/m.engine",
        "--shapes=images:8x3x224x224",
        "--warmUp=5000",
        "--duration=7",
        "--percentile=50,90,99",
    ]


@pytest.mark.parametrize(
    ("version", "cuda_graph", "transfers", "expected"),
    [
        ("11.4.0.106", False, False, ["--noCudaGraph"]),
        ("11.4.0.106", True, False, []),
        ("11.4.0.106", True, True, ["--includeDataTransfers"]),
        ("10.13.2", False, False, ["--noDataTransfers", "--useSpinWait"]),
        ("10.13.2", True, False, ["--useCudaGraph", "--noDataTransfers", "--useSpinWait"]),
        ("10.13.2", True, True, ["--useCudaGraph", "--useSpinWait"]),
        ("", True, False, []),
    ],
)
def test_graph_copies_and_waiting_are_pinned_in_every_version(
    version: str, cuda_graph: bool, transfers: bool, expected: list[str]
) -> None:
    assert flags(version=version, cuda_graph=cuda_graph, transfers=transfers)[6:] == expected


def test_tensorrt_rtx_has_a_tool_of_its_own() -> None:
    found = flags(backend="tensorrt-rtx", version="1.7.1", cuda_graph=True)
    assert found[0] == "tensorrt_rtx"
    assert found[6:] == ["--useCudaGraph", "--noDataTransfers", "--useSpinWait"]


def test_a_fixed_shape_is_not_given() -> None:
    fixed = TensorSpec(name="images", dtype="float32", shape=(8, 3, 224, 224))
    assert not any(flag.startswith("--shapes") for flag in flags(inputs=(fixed,)))


def test_a_path_with_spaces_can_be_pasted() -> None:
    assert flags(path=Path("my engines/m.engine"))[1] == "--loadEngine=my engines/m.engine"
