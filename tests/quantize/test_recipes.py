"""Every extra together: the graph keeps to the rules, and every engine takes it as before."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tresnet_deploy import graph_files
from tresnet_deploy.backends import onnxruntime, openvino
from tresnet_deploy.contracts import Array, Artifact, Batch, run
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import batches, demo_images, sample
from tresnet_deploy.quantize import QuantizeOptions, Recipe, quantize

from .conftest import snr_db

EXTRAS = QuantizeOptions(
    samples=32, equalize=True, bias_correction=True, weights="mse", weight_rounding="gptq"
)


@pytest.fixture(scope="module")
def made(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    target = tmp_path_factory.mktemp("extras") / "tresnet.int8.onnx"
    return quantize(demo_graph, target, images=demo_images("calibration"), options=EXTRAS)


def test_nothing_but_constants_differs_from_the_plain_graph(
    made: Artifact, demo_int8: Artifact
) -> None:
    ours, plain = (graph_files.load(each.path).graph for each in (made, demo_int8))
    assert [(n.name, n.op_type) for n in ours] == [(n.name, n.op_type) for n in plain]
    assert Counter(v.dtype for v in ours.initializers.values()) == Counter(
        v.dtype for v in plain.initializers.values()
    )


def test_the_artefact_says_what_was_done(made: Artifact) -> None:
    names = ("equalize", "bias_correction", "weights", "weight_rounding")
    assert [made.settings[name] for name in names] == [True, True, "mse", "gptq"]
    assert made.settings["chosen_by"] == "request"


def test_two_engines_give_the_same_answers(made: Artifact, demo_graph: Artifact) -> None:
    (batch,) = batches(sample(demo_images("test"), 40, seed=0), made.preprocess, 40)
    sessions = onnxruntime.load(demo_graph), onnxruntime.load(made), openvino.load(made)
    wanted, ours, theirs = (
        np.asarray(run(session, {"images": batch.array})["logits"]) for session in sessions
    )
    agree(ours, wanted, least_db=25)
    agree(theirs, wanted, least_db=25)
    assert (ours.argmax(1) == theirs.argmax(1)).mean() >= 0.97


def agree(found: Array, wanted: Array, *, least_db: float) -> None:
    assert snr_db(found, wanted) > least_db


def test_tensorrt_rtx_builds_it(made: Artifact) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the extra tensorrt-rtx is not installed")
    from tresnet_deploy.backends import tensorrt_rtx

    assert "Layers:" in (tensorrt_rtx.layers_of(made.path, batch=Batch()) or "")


def test_an_earlier_choice_goes_when_its_graph_is_replaced(
    demo_graph: Artifact, tmp_path: Path
) -> None:
    target = tmp_path / "a.onnx"
    (tmp_path / "a.onnx.choice.json").write_text("{}")
    images = sample(demo_images("calibration"), 4, seed=0)
    options = QuantizeOptions(samples=4)
    quantize(demo_graph, target, images=images, options=options, overwrite=True)
    assert not (tmp_path / "a.onnx.choice.json").exists()


def test_a_recipe_in_words() -> None:
    assert str(Recipe(method="mse")) == "mse"
    full = Recipe(
        method="mse",
        equalize=True,
        bias_correction=True,
        weights="mse",
        weight_rounding="gptq",
    )
    assert str(full) == "mse, equalized, biases corrected, weights by mse, rounded by gptq"
    assert full.extras == 4


def test_an_unknown_method_names_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="no calibration method is called 'automatic'; there are"):
        QuantizeOptions(method="automatic")
