"""build-engine with a bound: what is kept in float, and what happens when nothing keeps it."""

import json
import shutil
from pathlib import Path

import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.artifacts import to_json
from tresnet_deploy.int8_results import BlockLatency, Judged, LatencyTable
from tresnet_deploy.mixed import step
from tresnet_deploy.mixed.judging import Ground

from .conftest import Command

BLOCKS = (
    "stem",
    *(f"layer{s}.{b}" for s, count in ((1, 3), (2, 4), (3, 11), (4, 3)) for b in range(count)),
)


class FakeJudge:
    """Agreement is what two blocks decide: it is bad until both are float."""

    best = 1.0

    def __init__(self, ground: Ground) -> None:
        self.files = list(ground.images.files)

    def __call__(self, kept: tuple[str, ...]) -> Judged:
        agreement = self.best - 0.2 * len({"layer1.0", "layer2.0"} - set(kept))
        return Judged(agreement=agreement, snr_db=20.0, drop=1 - agreement, top1=0.9)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    blocks = tuple(BlockLatency(block=block, float_ms=2.0, int8_ms=1.0) for block in BLOCKS)
    path.write_bytes(to_json(LatencyTable(engine="gpu", device="x", batch=1, blocks=blocks)))
    return path


def options(folder: Path, table: Path) -> tuple[object, ...]:
    few = ("--calibration-samples", 8, "--held-out-samples", 20, "--latency-table", table)
    return ("build-engine", "--int8", "--backend", "onnxruntime", "-o", folder, *few)


def test_the_fewest_blocks_stay_float_and_the_engine_says_which(
    command: Command, folder: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "Judge", FakeJudge)
    monkeypatch.setattr(step, "ranked", lambda _candidates, _latency_ms: BLOCKS)
    done = command(*options(folder, table), "--min-agreement", "95%")
    assert done.code == 0
    assert "kept in float: 2 of 22 blocks: layer1.0, layer2.0" in done.out
    assert "met, chosen" in done.out
    engine = artifacts.read(folder / "tresnet.int8.onnxruntime.onnx")
    assert engine.settings["mixed.float_blocks"] == "layer1.0 layer2.0"
    assert engine.settings["exclude"] == r"^layer1\.0[./] ^layer2\.0[./]"
    assert "mixed.curve" in engine.settings
    found = json.loads((folder / "mixed.json").read_text("utf-8"))
    assert found["kept"] == ["layer1.0", "layer2.0"]
    assert "Accuracy against latency" in (folder / "mixed.html").read_text("utf-8")


@pytest.mark.usefixtures("bf16_runs")
def test_a_bound_that_nothing_keeps_ends_with_1_the_curve_and_no_file(
    command: Command, folder: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "Judge", FakeJudge)
    monkeypatch.setattr(FakeJudge, "best", 0.8)
    done = command(*options(folder, table), "--max-drop", "10%")
    assert done.code == 1
    assert "no INT8 engine of tresnet.onnx keeps a drop in top-1 of at most 10 % on 20" in done.err
    assert "no engine was written" in done.err
    assert f"try: tresnet-deploy build-engine --precision bf16 --output {folder}\n" in done.err
    assert done.out.count("not met") > 3
    made = {path.name for path in folder.iterdir()}
    assert made <= {
        "tresnet.onnx",
        "tresnet.onnx.json",
        "calibration",
        "sensitivity.json",
        ".tresnet-deploy.lock",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-agreement", "100%"), "--min-agreement 100 % is no bound for a search"),
        (("--max-drop", "0%"), "--max-drop 0 % is no bound for a search"),
        (("--max-drop", "0.5"), "'0.5' is 50 points: write 0.5% or less"),
        (("--min-agreement", "99"), "'99' is more than everything: write 99%"),
        (("--min-agreement", "150%"), "'150%' is more than everything: give less than 100%"),
        (("--min-agreement", "100"), "'100' is more than everything: give less than 100%"),
        (("--max-drop", "0." + "0" * 400 + "1"), "--max-drop 0 % is no bound for a search"),
        (("--max-drop", "half"), "'half' is no share: write 0.5% or 0.005"),
        (("--max-drop", "1%", "--min-agreement", "99%"), "give --max-drop or --min-agreement"),
        (("--min-agreement", "99.9%"), "20 images held out cannot show"),
        ((), "--held-out-samples changes nothing without a bound"),
    ],
)
def test_a_bound_that_makes_no_sense_is_one_error(
    command: Command, folder: Path, table: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = command(*options(folder, table), *arguments)
    assert done.code == 2
    assert message in done.err
    assert not list(folder.glob("*int8*"))


def test_without_labels_the_error_names_the_bound_that_needs_none(
    command: Command, folder: Path, table: Path, tmp_path: Path
) -> None:
    from tresnet_deploy.images import sample_photos

    for file in sample_photos().files[:20]:
        (tmp_path / "photos").mkdir(exist_ok=True)
        shutil.copy(file.path, tmp_path / "photos")
    done = command(*options(folder, table), "--max-drop", "5%", "--held-out", tmp_path / "photos")
    assert done.code == 2
    assert "--max-drop needs one label for each held-out image, and 20 of 20 have none" in done.err
    assert "try: --min-agreement 99%, which needs no labels" in done.err


def test_a_bound_without_an_int8_graph_is_refused(command: Command, folder: Path) -> None:
    done = command("build-engine", "-o", folder, "--max-drop", "1%")
    assert done.code == 2
    assert "--max-drop changes nothing here: no INT8 graph is made" in done.err


def test_a_file_that_is_there_is_refused_before_the_search(
    command: Command, folder: Path, table: Path
) -> None:
    (folder / "tresnet.int8.onnx").write_text("mine", "utf-8")
    done = command(*options(folder, table), "--min-agreement", "95%")
    assert done.code == 2
    assert "tresnet.int8.onnx exists already" in done.err
    assert (folder / "tresnet.int8.onnx").read_text("utf-8") == "mine"


def test_a_latency_table_of_another_network_is_refused(
    command: Command, folder: Path, table: Path
) -> None:
    table.write_text(table.read_text("utf-8").replace("layer4.2", "layer4.7"), "utf-8")
    done = command(*options(folder, table), "--min-agreement", "95%")
    assert done.code == 2
    assert "lacks layer4.2" in done.err
