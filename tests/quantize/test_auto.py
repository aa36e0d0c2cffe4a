"""``--method auto``: recipes are measured on images that were not calibrated on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.converting import converted
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, demo_images, sample
from tresnet_deploy.quantize import AUTO, QuantizeOptions, Recipe, quantize
from tresnet_deploy.quantize.drawing import drawn
from tresnet_deploy.quantize.trials import Measured, Trial, Trials, beside, best_of
from tresnet_deploy.registry import OBSERVERS

IMAGES = 36
SAMPLES = 24
OPTIONS = QuantizeOptions(method=AUTO, samples=SAMPLES)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return sample(demo_images("calibration"), IMAGES, seed=0)


@pytest.fixture(scope="module")
def chosen(
    demo_graph: Artifact, images: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    folder = tmp_path_factory.mktemp("auto")
    return quantize(demo_graph, folder / "tresnet.int8.onnx", images=images, options=OPTIONS)


@pytest.fixture(scope="module")
def trials(chosen: Artifact) -> Trials:
    path = beside(chosen.path)
    return artifacts.from_json(path.read_bytes(), Trials, name=path.name)


def test_winner_and_losers_are_recorded_beside_the_graph(chosen: Artifact, trials: Trials) -> None:
    (taken,) = (trial for trial in trials.trials if trial.taken)
    assert chosen.settings["chosen_by"] == "auto"
    for name in ("method", "equalize", "bias_correction", "weights", "weight_rounding"):
        assert chosen.settings[name] == getattr(taken, name)
    assert trials.graph_sha256 == chosen.sha256
    assert artifacts.read(chosen.path) == chosen
    assert {trial.method for trial in trials.trials} == set(OBSERVERS.names())
    assert any(trial.equalize for trial in trials.trials)
    assert any(trial.bias_correction for trial in trials.trials)
    assert any(trial.weights == "mse" for trial in trials.trials)
    assert [trial.weight_rounding for trial in trials.trials].count("gptq") == 1


def test_the_images_to_judge_on_were_not_calibrated_on(chosen: Artifact, trials: Trials) -> None:
    assert chosen.settings["calibration_images"] == SAMPLES
    assert trials.images == chosen.settings["held_out_images"] == IMAGES - SAMPLES
    assert trials.images_sha256 != chosen.settings["calibration_sha256"]


def test_labels_are_used_where_every_image_has_one(trials: Trials) -> None:
    assert trials.float_top1 is not None
    assert all(trial.top1 is not None for trial in trials.trials)
    assert trials.criterion.startswith("top-1 accuracy")


def test_the_same_graph_comes_of_asking_for_the_winner(
    chosen: Artifact, demo_graph: Artifact, images: ImageSet, tmp_path: Path
) -> None:
    settings = chosen.settings
    weights = settings["weights"]
    assert weights in ("max", "mse")
    asked = QuantizeOptions(
        method=str(settings["method"]),
        samples=SAMPLES,
        equalize=bool(settings["equalize"]),
        bias_correction=bool(settings["bias_correction"]),
        weights="mse" if weights == "mse" else "max",
        weight_rounding="gptq" if settings["weight_rounding"] == "gptq" else "nearest",
    )
    again = quantize(demo_graph, tmp_path / "again.onnx", images=images, options=asked)
    assert again.settings["chosen_by"] == "request"
    assert not beside(again.path).exists()
    for name in ("int8_layers", "int8_activations", "calibration_sha256"):
        assert again.settings[name] == settings[name]
    assert again.verified == chosen.verified


def test_a_graph_chosen_of_the_same_images_is_taken_again(
    chosen: Artifact, demo_graph: Artifact, images: ImageSet
) -> None:
    found = converted(
        demo_graph, chosen.path.parent, precision="int8", images=images, options=OPTIONS
    )
    assert found.reused
    fixed = dataclasses.replace(OPTIONS, equalize=not chosen.settings["equalize"])
    swapped = "nearest" if chosen.settings["weight_rounding"] == "gptq" else "gptq"
    other_way = dataclasses.replace(OPTIONS, weight_rounding=swapped)  # type: ignore[arg-type]
    for other in (fixed, other_way, dataclasses.replace(OPTIONS, seed=1)):
        with pytest.raises(UsageError, match="by other settings"):
            converted(
                demo_graph, chosen.path.parent, precision="int8", images=images, options=other
            )


def test_too_few_images_and_noise_are_refused(
    demo_graph: Artifact, images: ImageSet, tmp_path: Path
) -> None:
    few = sample(images, 7, seed=0)
    with pytest.raises(UsageError, match="it wants 8 or more, not 7 images"):
        quantize(demo_graph, tmp_path / "a.onnx", images=few, options=OPTIONS)
    with pytest.raises(UsageError, match="noise has no accuracy"):
        QuantizeOptions(method=AUTO, random_calibration=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "samples", "kept", "held"),
    [(200, 128, 128, 72), (30, 128, 20, 10), (8, 128, 6, 2), (5000, 128, 128, 256)],
)
def test_a_third_is_held_out_where_images_are_short(
    images: int, samples: int, kept: int, held: int
) -> None:
    files = demo_images("test").files
    many = dataclasses.replace(demo_images("test"), files=(files * 5)[:images])
    sets = drawn(many, QuantizeOptions(method=AUTO, samples=samples))
    assert sets.held_out is not None
    assert (len(sets.calibration), len(sets.held_out)) == (kept, held)
    if images <= len(files):
        assert not set(sets.calibration.files) & set(sets.held_out.files)


def measured(snr_db: float, right: list[int], **recipe: bool) -> Measured:
    made = Recipe(method="mse", **recipe)  # type: ignore[arg-type]
    trial = Trial(
        method="mse",
        equalize=made.equalize,
        bias_correction=made.bias_correction,
        weights=made.weights,
        snr_db=snr_db,
        agreement=float(np.mean(right)),
        top1=None,
        seconds=0,
    )
    return Measured(recipe=made, trial=trial, right=np.array(right, bool))


def test_answers_that_differ_by_chance_leave_the_choice_to_snr() -> None:
    quiet, lucky = measured(30, [0, *[1] * 99]), measured(25, [1] * 100)
    assert best_of([quiet, lucky]) is quiet


def test_answers_that_are_worse_beyond_chance_decide() -> None:
    quiet, right = measured(30, [*[0] * 8, *[1] * 92]), measured(25, [1] * 100)
    assert best_of([quiet, right]) is right


def test_an_extra_has_to_pay() -> None:
    plain, little = measured(30, [1]), measured(30.4, [1], equalize=True)
    much = measured(30.6, [1], bias_correction=True)
    assert best_of([plain, little]) is plain
    assert best_of([plain, little, much]) is much
