"""The report tells the kernels of the folder's own engines, where they are known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, fusions
from tresnet_deploy.contracts import Artifact, Labels, Preprocess, Source
from tresnet_deploy.pipeline.kernels import known_kernels

GRAPH = Artifact(
    path=Path("m.onnx"),
    kind="onnx",
    step="export",
    sha256="",
    architecture="tresnet_m",
    precision="fp16",
    inputs=(),
    outputs=(),
    preprocess=Preprocess(),
    labels=Labels(classes=2),
    source=Source(kind="random", location="", sha256="1" * 64),
)


def engine(folder: Path, name: str, *, layers: bool = True, sha256: str = "1" * 64) -> Artifact:
    source = dataclasses.replace(GRAPH.source, sha256=sha256)
    described = dataclasses.replace(GRAPH, kind="engine", source=source)
    with artifacts.publishing(folder / name, overwrite=False) as staging:
        staging.path.write_bytes(b"plan")
        if layers:
            report = fusions.parse(None)
            fusions.companion_of(staging.path).write_bytes(artifacts.to_json(report))
        return staging.finish(described)


def names(folder: Path) -> list[str]:
    return [each.name for each in known_kernels(GRAPH, folder)]


def test_engines_with_a_list_of_kernels_are_found(tmp_path: Path) -> None:
    engine(tmp_path, "a.engine")
    engine(tmp_path, "b.engine", layers=False)
    assert names(tmp_path) == ["a.engine"]


def test_engines_of_other_weights_are_left_out(tmp_path: Path) -> None:
    engine(tmp_path, "a.engine", sha256="2" * 64)
    assert names(tmp_path) == []


@pytest.mark.parametrize("damage", ["a.engine", "a.engine.layers.json"])
def test_a_damaged_engine_is_left_out(tmp_path: Path, damage: str) -> None:
    engine(tmp_path, "a.engine")
    (tmp_path / damage).write_bytes(b"changed")
    assert names(tmp_path) == []
