"""Who runs: engines with the verdict on their own bytes, and PyTorch in the forms found here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from tresnet_deploy import contestants, environment
from tresnet_deploy.contestants import rivals
from tresnet_deploy.contracts import Artifact, FileDigest
from tresnet_deploy.errors import UnavailableError
from tresnet_deploy.images import demo_images
from tresnet_deploy.registry import Folder
from tresnet_deploy.results import ParityReport
from tresnet_deploy.timing import Schedule


@pytest.fixture(scope="module")
def pictures() -> contestants.Pictures:
    return contestants.pictures_of(demo_images("test"))


def test_an_engine_carries_the_verdict_on_its_own_bytes(
    demo_graph: Artifact, pictures: contestants.Pictures, parity_of: Callable[..., ParityReport]
) -> None:
    def verdict(artifact: Artifact, known: ParityReport | None) -> str:
        (one,) = contestants.engines((artifact,), pictures, known=known, schedule=Schedule())
        return one.parity

    passed = parity_of(demo_graph, passed=True)
    assert verdict(demo_graph, passed) == "pass"
    assert verdict(demo_graph, parity_of(demo_graph, passed=False)) == "fail"
    assert verdict(demo_graph, None) == "not checked"
    assert verdict(replace(demo_graph, sha256="f" * 64), passed) == "not checked"


def test_the_same_bytes_in_another_precision_have_no_verdict_yet(
    demo_graph: Artifact, pictures: contestants.Pictures, parity_of: Callable[..., ParityReport]
) -> None:
    known = parity_of(demo_graph, passed=True)
    bf16 = replace(demo_graph, precision="bf16")
    (one,) = contestants.engines((bf16,), pictures, known=known, schedule=Schedule())
    assert one.parity == "not checked"


def test_a_session_comes_with_pictures_of_the_asked_batch_bound(
    demo_graph: Artifact, pictures: contestants.Pictures
) -> None:
    (one,) = contestants.engines((demo_graph,), pictures, known=None, schedule=Schedule())
    session = one.open(3)
    session.step()
    (logits,) = session.fetch().values()
    session.close()
    assert logits.shape == (3, demo_graph.labels.classes)


def test_pytorch_runs_as_it_is_and_in_its_fastest_forms(
    demo_graph: Artifact, pictures: contestants.Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "computes_bf16", lambda: True)
    monkeypatch.setattr(rivals.shutil, "which", lambda name: f"/usr/bin/{name}")
    found = contestants.baselines(demo_graph, pictures, compiled=True)
    assert [(each.name, each.precision) for each in found.contestants] == [
        ("pytorch eager fp32", "fp32"),
        ("pytorch channels-last fp32", "fp32"),
        ("pytorch channels-last bf16", "bf16"),
        ("pytorch compiled fp32", "fp32"),
        ("pytorch compiled bf16", "bf16"),
    ]
    assert {each.parity for each in found.contestants} == {"baseline"}
    assert found.notes == (contestants.FOLDED,)


def test_forms_of_pytorch_give_the_answers_of_the_original_weights(
    demo_graph: Artifact, pictures: contestants.Pictures
) -> None:
    found = contestants.baselines(demo_graph, pictures, compiled=False).contestants
    answers = []
    for each in found:
        session = each.open(2)
        session.step()
        answers.append(next(iter(session.fetch().values())))
        session.close()
    for each, answer in zip(found, answers, strict=True):
        tolerance = 1e-4 if each.precision == "fp32" else 0.3
        np.testing.assert_allclose(answer, answers[0], atol=tolerance, err_msg=each.name)


def test_pytorch_takes_any_batch_where_the_engine_takes_one(
    demo_graph: Artifact, pictures: contestants.Pictures
) -> None:
    (image,) = demo_graph.inputs
    (logits,) = demo_graph.outputs
    fixed = replace(
        demo_graph,
        inputs=(replace(image, shape=(8, *image.shape[1:])),),
        outputs=(replace(logits, shape=(8, *logits.shape[1:])),),
    )
    session = contestants.baselines(fixed, pictures, compiled=False).contestants[0].open(3)
    session.step()
    assert session.fetch()["logits"].shape == (3, 10)
    session.close()


@pytest.mark.parametrize(
    ("bf16", "compiled", "compiler", "note"),
    [
        (False, False, True, "PyTorch in bf16 is left out: this processor has no bf16"),
        (True, False, True, "torch.compile is left out: --compile adds it"),
        (True, True, False, "torch.compile is left out: it needs one of g++, clang++, c++"),
    ],
)
def test_a_form_that_is_left_out_is_noted_with_the_reason(
    demo_graph: Artifact,
    pictures: contestants.Pictures,
    monkeypatch: pytest.MonkeyPatch,
    *,
    bf16: bool,
    compiled: bool,
    compiler: bool,
    note: str,
) -> None:
    monkeypatch.setattr(environment, "computes_bf16", lambda: bf16)
    monkeypatch.setattr(rivals.shutil, "which", lambda name: name if compiler else None)
    found = contestants.baselines(demo_graph, pictures, compiled=compiled)
    assert any(each.startswith(note) for each in found.notes)
    assert not any("compiled" in each.name for each in found.contestants)


def test_without_pytorch_engines_are_timed_alone(
    demo_graph: Artifact, pictures: contestants.Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_self: Folder, name: str) -> ModuleType:
        raise UnavailableError(f"the backend {name} is not usable here: No module named 'torch'")

    monkeypatch.setattr(Folder, "load", missing)
    found = contestants.baselines(demo_graph, pictures, compiled=True)
    assert found.contestants == ()
    assert "PyTorch is left out: the backend pytorch is not usable here" in found.notes[0]


def test_the_size_of_an_engine_counts_its_companions(demo_graph: Artifact) -> None:
    alone = contestants.size_mib(demo_graph)
    sidecar = FileDigest(name=demo_graph.path.name + ".json", sha256="0")
    assert alone == demo_graph.path.stat().st_size / 2**20
    assert contestants.size_mib(replace(demo_graph, companions=(sidecar,))) > alone
