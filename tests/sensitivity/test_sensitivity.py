"""Effects of blocks and layers: exact, in order, and used again for the same basis only."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from tresnet_deploy.calibration import Pictures

from tresnet_deploy import graph_files
from tresnet_deploy.contracts import Array, Artifact, run
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, demo_images
from tresnet_deploy.int8_results import SensitivityReport
from tresnet_deploy.quantize import quantize
from tresnet_deploy.quantize.graphs import runtime_session
from tresnet_deploy.sensitivity import Forms, chosen, expressions_of, sensitivity, step
from tresnet_deploy.sensitivity.chains import opened, through
from tresnet_deploy.sensitivity.forms import exactly

from .conftest import OPTIONS


@pytest.fixture(scope="module")
def array(forms: Forms, judged: ImageSet) -> Array:
    data = Pictures(images=judged, preprocess=forms.artifact.preprocess)
    return next(data.portions(8)).array


def scores(model: ir.Model, array: Array) -> Array:
    (found,) = run(runtime_session(model), {"images": array}).values()
    return found


@pytest.mark.parametrize("block", ["stem", "layer2.0", "layer4.0"])
def test_a_block_kept_float_gives_what_the_mixed_graph_gives(
    forms: Forms, array: Array, block: str
) -> None:
    units = tuple(unit for unit in forms.units("block") if unit.name == block)
    mixed = scores(forms.quantized(expressions_of((block,))), array)
    alone = scores(
        forms.quantized(
            exactly(str(n.name) for n in forms.model.graph if n.name not in forms.node_names(block))
        ),
        array,
    )
    with opened(forms, units) as chains:
        (variant,) = chains.variants
        at = variant.unit.segment
        int8 = [array, *through(chains.int8, array)]
        plain = [array, *through(chains.plain, array)]
        without = through((variant.without, *chains.int8[at + 1 :]), int8[at])[-1]
        only = through((variant.only, *chains.plain[at + 1 :]), plain[at])[-1]
    np.testing.assert_allclose(without, mixed, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(only, alone, rtol=1e-5, atol=1e-5)


def test_a_mixed_graph_is_the_one_that_quantize_writes(
    forms: Forms, array: Array, small_graph: Artifact, tmp_path: Path
) -> None:
    kept = ("stem", "layer3.0")
    written = quantize(
        small_graph,
        tmp_path / "mixed.onnx",
        images=demo_images("calibration"),
        options=replace(OPTIONS, exclude=expressions_of(kept)),
    )
    found = scores(graph_files.load(written.path), array)
    np.testing.assert_array_equal(found, scores(forms.quantized(expressions_of(kept)), array))


def test_layers_are_called_as_their_torch_modules(forms: Forms) -> None:
    names = [unit.name for unit in forms.units("layer")]
    assert names[0] == "stem.conv"
    assert "layer1.0.conv1.conv" in names
    assert "layer2.0.shortcut.project.conv" in names
    assert len(names) == sum(len(unit.nodes) for unit in forms.units("block"))


@pytest.fixture(scope="module")
def report(
    small_graph: Artifact, judged: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> SensitivityReport:
    return sensitivity(
        small_graph,
        tmp_path_factory.mktemp("report"),
        calibration=demo_images("calibration"),
        images=judged,
        options=OPTIONS,
    )


def test_every_quantised_block_has_its_effects(report: SensitivityReport, forms: Forms) -> None:
    assert [each.name for each in report.effects] == [each.name for each in forms.units("block")]
    assert report.images == 8
    assert report.int8_snr_db is not None
    assert report.int8_snr_db > 5


def test_one_block_alone_makes_less_noise_than_all(report: SensitivityReport) -> None:
    assert report.int8_snr_db is not None
    for effect in report.effects:
        assert effect.only_snr_db is not None
        assert effect.only_snr_db > report.int8_snr_db


def test_the_share_of_noise_follows_from_the_two_ratios(report: SensitivityReport) -> None:
    effect = report.ranked()[0]
    assert report.int8_snr_db is not None
    assert effect.without_snr_db is not None
    share = 1 - 10 ** ((report.int8_snr_db - effect.without_snr_db) / 10)
    assert effect.noise_share == pytest.approx(share, abs=1e-6)
    assert effect.noise_share == max(each.noise_share for each in report.effects)


def test_layers_of_one_block_are_measured_alone(
    small_graph: Artifact, judged: ImageSet, tmp_path: Path
) -> None:
    names = ("layer2.0.conv1.conv", "layer2.0.conv2.conv")
    found = sensitivity(
        small_graph,
        tmp_path,
        calibration=demo_images("calibration"),
        images=judged,
        options=OPTIONS,
        by="layer",
        names=names,
    )
    assert tuple(effect.name for effect in found.effects) == names
    assert {effect.block for effect in found.effects} == {"layer2.0"}
    for effect in found.effects:
        assert effect.only_snr_db != found.int8_snr_db
        assert effect.without_snr_db != found.int8_snr_db


def test_a_block_stands_for_its_layers(forms: Forms) -> None:
    found = chosen(forms.units("layer"), ("layer1.0", "stem.conv"), "--only")
    assert [unit.name for unit in found] == [
        "stem.conv",
        "layer1.0.conv1.conv",
        "layer1.0.conv2.conv",
    ]


def test_an_unknown_block_is_named_with_those_that_are_there(
    small_graph: Artifact, judged: ImageSet, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"--only names 'layer9\.0'.*there are: stem, layer1\.0"):
        sensitivity(
            small_graph,
            tmp_path,
            calibration=demo_images("calibration"),
            images=judged,
            options=OPTIONS,
            names=("layer9.0",),
        )
    assert not (tmp_path / "sensitivity.json").exists()


def test_a_quantised_graph_is_refused(
    demo_int8: Artifact, judged: ImageSet, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is no FP32 graph but int8"):
        sensitivity(demo_int8, tmp_path, calibration=None, images=judged, options=OPTIONS)


def test_a_report_is_taken_for_the_same_basis_only(
    small_graph: Artifact,
    judged: ImageSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def again(images: ImageSet, only: str = "stem") -> SensitivityReport:
        return sensitivity(
            small_graph,
            tmp_path,
            calibration=demo_images("calibration"),
            images=images,
            options=OPTIONS,
            names=(only,),
        )

    few = replace(judged, files=judged.files[:2])
    first = again(few)
    calls: list[int] = []

    def measured(*_arguments: object, **_named: object) -> SensitivityReport:
        calls.append(1)
        return first

    monkeypatch.setattr(step, "measure", measured)
    assert again(few) == first
    assert not calls
    again(replace(judged, files=judged.files[:3]))
    again(few, "layer1.0")
    assert len(calls) == 2
    (tmp_path / "sensitivity.json").write_text("{broken", "utf-8")
    again(few)
    assert len(calls) == 3


def test_an_interrupted_run_leaves_no_report(
    small_graph: Artifact, judged: ImageSet, tmp_path: Path
) -> None:
    def interrupt(done: int, _total: int | None, what: str) -> None:
        if done and what.startswith("runs"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sensitivity(
            small_graph,
            tmp_path,
            calibration=demo_images("calibration"),
            images=replace(judged, files=judged.files[:2]),
            options=OPTIONS,
            names=("stem",),
            progress=interrupt,
        )
    assert {path.name for path in tmp_path.iterdir()} <= {"calibration", ".tresnet-deploy.lock"}
