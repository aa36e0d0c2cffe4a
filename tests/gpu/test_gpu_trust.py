"""What check-engine, bundles and Triton's repository say of real plans on a real GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, gpus, packaging, trust
from tresnet_deploy.contracts import Artifact, Precision
from tresnet_deploy.errors import ArtifactError, ElsewhereError
from tresnet_deploy.images import demo_images
from tresnet_deploy.packaging import Serving, Wish
from tresnet_deploy.trust import Machine

from .conftest import Engine

pytestmark = pytest.mark.gpu


def test_an_engine_that_was_built_here_is_compatible(backend: str, engine: Engine) -> None:
    report = trust.examine(engine(backend).path)
    assert report.verdict == "compatible", report.reasons
    assert report.header is not None
    assert report.header.runtime == backend


def test_the_sidecar_and_the_header_agree(backend: str, engine: Engine) -> None:
    artifact = engine(backend)
    header = trust.read_header(artifact.path)
    assert header is not None
    assert artifact.versions[backend].startswith(header.version_text)


def test_a_gpu_of_another_kind_is_refused_before_loading(backend: str, engine: Engine) -> None:
    here = Machine.here(backend)
    older = dataclasses.replace(gpus.visible()[0], name="an older GPU", capability=(7, 0))
    with pytest.raises(ElsewhereError, match="cannot run here"):
        trust.check_before_loading(engine(backend), dataclasses.replace(here, gpus=(older,)))


def test_a_truncated_plan_is_refused_before_loading(
    backend: str, engine: Engine, tmp_path: Path
) -> None:
    artifact = engine(backend)
    path = tmp_path / artifact.path.name
    path.write_bytes(artifact.path.read_bytes()[:-1])
    artifacts.sidecar_of(path).write_bytes(artifacts.sidecar_of(artifact.path).read_bytes())
    with pytest.raises(ArtifactError, match="is not the file that"):
        trust.check_before_loading(dataclasses.replace(artifact, path=path, companions=()))


def test_a_plan_is_proved_before_triton_gets_it(engine: Engine, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt", reason="not for this GPU: TensorRT is not installed")
    artifact = engine("tensorrt")
    serving = Serving(name="demo")
    written = packaging.write(artifact, tmp_path, serving, images=demo_images("test"))
    assert written.proof.startswith(f"model.plan answers as {artifact.path.name}")


def test_a_bundle_becomes_an_engine_of_this_gpu(
    backend: str, engine: Engine, graph: Callable[[Precision], Artifact], tmp_path: Path
) -> None:
    artifact = engine(backend, "fp16")
    beside = artifact.path.with_name(graph("fp16").path.name)
    for copy, file in (
        (beside, graph("fp16").path),
        (artifacts.sidecar_of(beside), artifacts.sidecar_of(graph("fp16").path)),
    ):
        copy.write_bytes(file.read_bytes())
    packaging.pack(artifact, tmp_path / "it.tar", images=demo_images("test"), weights=True)
    done = packaging.rebuild(tmp_path / "it.tar", tmp_path / "there", Wish(samples=100))
    assert done.parity is not None
    assert done.parity.verdict == "pass"
