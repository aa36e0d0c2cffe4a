"""From an FP32 graph to an engine: what is made on the way, what is reused, what is refused."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, converting, engines, quantize
from tresnet_deploy.contracts import Artifact, Precision
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.images import ImageSet, demo_images
from tresnet_deploy.quantize import QuantizeOptions

FEW = QuantizeOptions(samples=32)  # as the fixture demo_int8 is made


@pytest.fixture
def graph(demo_graph: Artifact, tmp_path: Path) -> Artifact:
    """Return the FP32 demo graph in a folder of its own."""
    return placed(demo_graph, tmp_path)


@pytest.fixture
def int8_graph(graph: Artifact, demo_int8: Artifact, tmp_path: Path) -> Artifact:
    """Return its INT8 form beside it."""
    return placed(demo_int8, tmp_path)


def placed(artifact: Artifact, folder: Path) -> Artifact:
    for path in (artifact.path, artifacts.sidecar_of(artifact.path)):
        shutil.copy(path, folder)
    return artifacts.read(folder / artifact.path.name)


def as_int8(
    graph: Artifact,
    *,
    options: QuantizeOptions = FEW,
    images: ImageSet | None = None,
    overwrite: bool = False,
) -> converting.Converted:
    return converting.converted(
        graph,
        graph.path.parent,
        precision="int8",
        images=images or demo_images("calibration"),
        options=options,
        overwrite=overwrite,
    )


def test_the_choice_says_which_graph_an_engine_needs(demo_graph: Artifact) -> None:
    choice = engines.choose(demo_graph, precision="int8")
    assert (choice.backend, choice.graph, choice.calibrates) == ("openvino", "int8", True)
    plain = engines.choose(demo_graph, backend="onnxruntime", options={"threads": "1"})
    assert (plain.precision, plain.graph, plain.calibrates) == ("fp32", "fp32", False)
    assert plain.reason == "as asked"
    assert plain.options.threads == 1


def test_an_int8_graph_is_not_calibrated_again(demo_int8: Artifact) -> None:
    choice = engines.choose(demo_int8)
    assert (choice.precision, choice.calibrates) == ("int8", False)


def test_a_graph_of_the_same_settings_is_taken_as_it_is(
    graph: Artifact, int8_graph: Artifact
) -> None:
    found = as_int8(graph)
    assert found == converting.Converted(artifact=int8_graph, reused=True)


def test_a_graph_in_the_wanted_precision_is_itself(int8_graph: Artifact) -> None:
    assert as_int8(int8_graph).artifact is int8_graph


@pytest.mark.parametrize(
    "changed",
    [
        {"samples": 31},
        {"seed": 1},
        {"method": "minmax"},
        {"quantize_all": True},
        {"exclude": ("layer4",)},
        {"random_calibration": True},
        {"pad_channels": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
@pytest.mark.usefixtures("int8_graph")
def test_a_graph_of_other_settings_is_neither_taken_nor_replaced(
    graph: Artifact, changed: dict[str, object]
) -> None:
    options = dataclasses.replace(FEW, **changed)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="made of another graph, by other settings") as caught:
        as_int8(graph, options=options)
    assert caught.value.hints[0] == "add --overwrite to replace it"


def test_padding_by_the_export_is_told_from_padding_by_quantising(
    graph: Artifact, int8_graph: Artifact
) -> None:
    padded = dataclasses.replace(graph, settings={**graph.settings, "pad_channels": True})
    assert not int8_graph.settings["pad_int8"]
    there = {**int8_graph.settings, "pad_channels": True}
    artifacts.described_anew(int8_graph, there)
    assert as_int8(padded, options=dataclasses.replace(FEW, pad_channels=False)).reused


def test_strict_takes_no_graph_that_skipped_images(graph: Artifact, int8_graph: Artifact) -> None:
    strict = dataclasses.replace(FEW, strict=True)
    assert as_int8(graph, options=strict).reused
    artifacts.described_anew(int8_graph, {**int8_graph.settings, "calibration_skipped": 1})
    assert as_int8(graph).reused
    with pytest.raises(UsageError, match="by other settings"):
        as_int8(graph, options=strict)


@pytest.mark.parametrize("field", ["preprocess", "labels"])
@pytest.mark.usefixtures("int8_graph")
def test_a_graph_that_means_something_else_is_not_taken(graph: Artifact, field: str) -> None:
    other = {
        "preprocess": dataclasses.replace(graph.preprocess, color_order="bgr"),
        "labels": dataclasses.replace(graph.labels, multi_label=True),
    }
    changed = dataclasses.replace(graph, **{field: other[field]})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="exists already"):
        as_int8(changed)


def test_a_reused_graph_says_what_this_search_found_and_not_what_an_earlier_one_did(
    graph: Artifact, int8_graph: Artifact
) -> None:
    def found_by(bound: str) -> Artifact:
        claims = {"mixed.bound": bound, "mixed.images": len(bound)}
        return dataclasses.replace(graph, settings={**graph.settings, **claims})

    first = as_int8(found_by("at least 90 %"))
    assert first.reused
    second = as_int8(found_by("at least 8 %")).artifact
    assert (second.settings["mixed.bound"], second.settings["mixed.images"]) == ("at least 8 %", 12)
    assert artifacts.read(int8_graph.path) == second
    plain = as_int8(graph).artifact
    assert plain.settings == int8_graph.settings
    assert plain.sha256 == int8_graph.sha256


@pytest.mark.usefixtures("int8_graph")
def test_a_graph_calibrated_on_other_images_is_not_taken(graph: Artifact) -> None:
    with pytest.raises(UsageError, match="by other settings"):
        as_int8(graph, images=demo_images("test"))


@pytest.mark.usefixtures("int8_graph")
def test_a_graph_made_of_another_graph_is_not_taken(graph: Artifact) -> None:
    with pytest.raises(UsageError, match="made of another graph"):
        as_int8(dataclasses.replace(graph, sha256="0" * 64))


def test_a_damaged_graph_is_replaced_only_on_request(graph: Artifact, int8_graph: Artifact) -> None:
    int8_graph.path.write_bytes(int8_graph.path.read_bytes()[:1000])
    with pytest.raises(UsageError, match="exists already"):
        as_int8(graph)
    made = as_int8(graph, overwrite=True)
    assert not made.reused
    assert artifacts.read(int8_graph.path) == made.artifact


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_only_an_fp32_graph_becomes_another(int8_graph: Artifact, precision: Precision) -> None:
    with pytest.raises(UsageError, match=f"is in int8; {precision} is made from FP32"):
        converting.converted(
            int8_graph, int8_graph.path.parent, precision=precision, images=None, options=FEW
        )


def test_a_half_graph_is_made_once(graph: Artifact) -> None:
    made = [
        converting.converted(graph, graph.path.parent, precision="fp16", images=None, options=FEW)
        for _ in range(2)
    ]
    assert [each.reused for each in made] == [False, True]
    assert made[0].artifact == made[1].artifact


def test_an_fp8_graph_is_calibrated_and_reused_like_an_int8_one(graph: Artifact) -> None:
    made = [
        converting.converted(
            graph,
            graph.path.parent,
            precision="fp8",
            images=demo_images("calibration"),
            options=FEW,
        )
        for _ in range(2)
    ]
    assert [each.reused for each in made] == [False, True]
    assert made[0].artifact.path.name == "tresnet.fp8.onnx"
    with pytest.raises(UsageError, match="exists already"):
        converting.converted(
            graph,
            graph.path.parent,
            precision="fp8",
            images=demo_images("calibration"),
            options=dataclasses.replace(FEW, exclude=("^stem",)),
        )


def test_an_engine_that_is_there_is_refused_before_calibrating(
    graph: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = engines.choose(graph, precision="int8")
    (graph.path.parent / "tresnet.int8.openvino.xml").write_bytes(b"")
    monkeypatch.setattr(converting, "quantize", None)
    with pytest.raises(UsageError, match=r"tresnet\.int8\.openvino\.xml exists already"):
        engines.make(graph, graph.path.parent, choice)


@pytest.mark.usefixtures("int8_graph")
def test_an_engine_and_its_graph_lie_side_by_side(graph: Artifact) -> None:
    choice = engines.choose(graph, precision="int8", backend="onnxruntime")
    engine = engines.make(graph, graph.path.parent, choice, quantize=FEW)
    assert [parent.name for parent in engine.parents] == ["tresnet.int8.onnx", "tresnet.onnx"]
    assert engine.path == graph.path.parent / "tresnet.int8.onnxruntime.onnx"


def test_without_onnx_runtime_an_int8_graph_can_still_be_built(
    graph: Artifact, int8_graph: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise UnavailableError("no ONNX Runtime")

    monkeypatch.setattr(quantize.int8, "runtime_session", missing)
    assert as_int8(graph).artifact == int8_graph
