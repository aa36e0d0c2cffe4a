"""The search on real INT8 graphs of a small network: what it leaves, and what it does not."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tresnet_deploy import graph_files, scoring
from tresnet_deploy.artifacts import to_json
from tresnet_deploy.contracts import Array, Artifact
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, demo_images, sample
from tresnet_deploy.int8_results import BlockLatency, Judged, LatencyTable
from tresnet_deploy.mixed import Bound, Wanted, applied, choose, judging, step
from tresnet_deploy.mixed.judging import Ground, Judge
from tresnet_deploy.mixed.latencies import Engine
from tresnet_deploy.quantize import QuantizeOptions, quantize
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.sensitivity import Forms, expressions_of, prepare

OPTIONS = QuantizeOptions(samples=16, method="minmax", pad_channels=False)
ENGINE = Engine(backend="onnxruntime", options=BACKENDS.load("onnxruntime").Options(), batch=1)


@pytest.fixture(scope="module")
def forms(small_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Forms:
    folder = tmp_path_factory.mktemp("forms")
    return prepare(small_graph, folder, images=demo_images("calibration"), options=OPTIONS)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return sample(demo_images("test"), 20, seed=0)


@pytest.fixture
def table(forms: Forms, tmp_path: Path) -> Path:
    """Latencies of a GPU that is not here."""
    blocks = tuple(
        BlockLatency(block=unit.block, float_ms=2.0, int8_ms=1.0) for unit in forms.units("block")
    )
    path = tmp_path / "table.json"
    path.write_bytes(to_json(LatencyTable(engine="gpu", device="x", batch=8, blocks=blocks)))
    return path


def test_a_mixture_is_judged_as_the_engine_of_the_graph_that_quantize_writes(
    forms: Forms, images: ImageSet, small_graph: Artifact, tmp_path: Path
) -> None:
    kept = ("layer1.0", "layer2.0")
    judge = Judge(Ground(forms=forms, folder=tmp_path, images=images, engine=None))
    judged = judge(kept)
    written = quantize(
        small_graph,
        tmp_path / "written.onnx",
        images=demo_images("calibration"),
        options=dataclasses.replace(OPTIONS, exclude=expressions_of(kept)),
    )
    candidate = graph_files.load(tmp_path / "candidate.int8.onnx")
    assert [node.name for node in candidate.graph] == [
        node.name for node in graph_files.load(written.path).graph
    ]
    assert judged.drop is not None
    assert judged.snr_db is not None
    assert 0 <= judged.agreement <= 1
    engine = Judge(Ground(forms=forms, folder=tmp_path, images=images, engine=ENGINE))(kept)
    assert engine.snr_db == pytest.approx(judged.snr_db, abs=6)


def test_scores_that_are_no_numbers_agree_with_nothing(
    forms: Forms, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(Ground(forms=forms, folder=tmp_path, images=images, engine=None))

    def broken(_session: object, array: Array, **_batch: object) -> Array:
        return np.full((len(array), 10), np.nan, np.float32)

    monkeypatch.setattr(scoring, "scores_of", broken)
    judged = judge(())
    assert (judged.agreement, judged.top1) == (0.0, 0.0)


class FakeJudge:
    """Judges by the number of blocks kept."""

    def __init__(self, ground: Ground) -> None:
        self.files = list(ground.images.files)
        (ground.folder / "candidate.onnx").write_text("half-written", "utf-8")

    def __call__(self, kept: tuple[str, ...]) -> Judged:
        lost = max(0, 3 - len(kept)) * 0.1
        return Judged(agreement=1 - lost, snr_db=20.0, drop=lost, top1=0.9 - lost)


Search = Callable[[Bound], step.Chosen]


@pytest.fixture
def search(
    small_graph: Artifact,
    images: ImageSet,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Search:
    """Search for a bound in the folder "deploy", judging by a formula."""
    monkeypatch.setattr(step, "Judge", FakeJudge)

    def run(bound: Bound) -> step.Chosen:
        wanted = Wanted(
            bound=bound, backend="onnxruntime", options=ENGINE.options, latency_table=table
        )
        return choose(
            small_graph,
            tmp_path / "deploy",
            wanted,
            calibration=demo_images("calibration"),
            images=images,
            options=OPTIONS,
        )

    return run


def test_the_choice_stands_in_the_settings_that_engines_inherit(
    search: Search, small_graph: Artifact, tmp_path: Path
) -> None:
    chosen = search(Bound(kind="min-agreement", share=0.95))
    assert chosen.report.kept is not None
    assert len(chosen.report.kept) == 3
    source, options = applied(small_graph, chosen)
    assert source.settings["mixed.float_blocks"] == " ".join(chosen.report.kept)
    assert source.settings["mixed.bound"] == "top-1 agreement of at least 95 %"
    assert "3 float: 8.000 ms, agreement 1.0000" in str(source.settings["mixed.curve"])
    assert options.exclude == expressions_of(chosen.report.kept)
    left = {path.name for path in (tmp_path / "deploy").iterdir()}
    assert left == {"calibration", "sensitivity.json", ".tresnet-deploy.lock"}


def test_a_drop_is_judged_with_labels(search: Search) -> None:
    chosen = search(Bound(kind="max-drop", share=0.1))
    assert chosen.report.kept is not None
    assert len(chosen.report.kept) == 2
    assert chosen.report.bound == "a drop in top-1 of at most 10 %"


def test_too_few_images_are_refused_before_any_work(search: Search, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="20 images held out cannot show"):
        search(Bound(kind="max-drop", share=0.01))
    assert not (tmp_path / "deploy").exists()


def test_an_interrupted_search_leaves_no_hidden_folder(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_judge: object, _kept: tuple[str, ...]) -> Judged:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeJudge, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(Bound(kind="max-drop", share=0.1))
    assert not list((tmp_path / "deploy").glob(".mixed*"))


def test_a_killed_search_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".mixed.partial").mkdir()
    (tmp_path / ".mixed.partial" / "candidate.onnx").write_text("half", "utf-8")
    with judging.workshop(tmp_path) as hidden:
        assert not list(hidden.iterdir())
    assert not hidden.exists()
