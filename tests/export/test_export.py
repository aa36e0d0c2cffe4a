"""What export promises of the file it writes."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from tresnet import Checkpoint
from tresnet.architecture import Head
from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.backends import onnxruntime
from tresnet_deploy.contracts import Array, Artifact, Batch, TensorSpec, run
from tresnet_deploy.errors import ImageError, UsageError
from tresnet_deploy.export import ExportOptions, export, file_name, labels_for
from tresnet_deploy.images import ImageSet

from .conftest import SIDE_PX, SOURCE, Export, eager, files_in, noise, normalized, tiny_checkpoint

PAIRS = Batch(min=2, opt=2, max=2)
UNWANTED = {"BatchNormalization", "Einsum", "Expand", "Identity", "Scatter", "ScatterElements"}


def outputs_of(artifact: Artifact, images: Array) -> Array:
    session = onnxruntime.load(artifact)
    (result,) = run(session, {"images": images}).values()
    session.close()
    return result


def operators_of(artifact: Artifact) -> Counter[str]:
    return Counter(node.op_type for node in graph_files.load(artifact.path).graph)


def test_the_graph_computes_the_network_at_any_batch_size(
    plain: Artifact, checkpoint: Checkpoint
) -> None:
    for batch in (1, 2, 5):
        images = noise(batch, 3, SIDE_PX, SIDE_PX)
        wanted = eager(checkpoint, images)
        np.testing.assert_allclose(outputs_of(plain, images), wanted, atol=1e-5 * wanted.std())


def test_the_batch_is_symbolic_and_the_rest_is_fixed(plain: Artifact) -> None:
    shape = ("batch", 3, SIDE_PX, SIDE_PX)
    assert plain.inputs == (TensorSpec(name="images", dtype="float32", shape=shape),)
    assert plain.outputs == (TensorSpec(name="logits", dtype="float32", shape=("batch", 5)),)
    assert plain.batch is None


def test_the_histogram_holds_each_layer_once_and_nothing_else(plain: Artifact) -> None:
    assert operators_of(plain) == {
        "SpaceToDepth": 1,
        "Conv": 1 + 2 * 2 + 2 * 3 + 3 + 3 * 2,  # stem, blocks, shortcuts, SE
        "LeakyRelu": 1 + 2 * 1 + 2 * 2,
        "BlurPool2d": 3,
        "AveragePool": 3,
        "ReduceMean": 4,
        "Sigmoid": 3,
        "Mul": 3,
        "Relu": 4 + 3,
        "Add": 4,
        "Gemm": 1,
    }


def test_no_head_leaves_operators_that_runtimes_stumble_over(
    dynamic: Artifact, bytes_in: Artifact
) -> None:
    for artifact in (dynamic, bytes_in):
        assert not UNWANTED & set(operators_of(artifact))


def test_our_operators_are_functions_that_the_file_defines(plain: Artifact) -> None:
    model = graph_files.load(plain.path)
    assert set(model.functions) == {
        ("tresnet", "SpaceToDepth", ""),
        ("tresnet", "BlurPool2d", ""),
    }
    assert model.opset_imports == {"": 18, "tresnet": 1}


def test_inlined_operators_leave_standard_nodes_only(dynamic: Artifact) -> None:
    model = graph_files.load(dynamic.path)
    assert {node.domain for node in model.graph} == {""}
    assert dict(model.functions) == {}
    assert model.opset_imports == {"": 18}


def test_nodes_and_weights_are_named_after_modules(plain: Artifact) -> None:
    model = graph_files.load(plain.path)
    nodes = {node.name for node in model.graph}
    wanted = {"stem.conv/Conv", "layer2.0.blur/BlurPool2d", "layer1.0.se.fc1/Conv", "head.fc/Gemm"}
    assert wanted <= nodes
    assert len(nodes) == len(list(model.graph))
    assert {"stem.conv.weight", "stem.conv.bias"} <= set(model.graph.initializers)


def test_the_file_tells_nothing_of_the_machine_that_made_it(plain: Artifact) -> None:
    data = plain.path.read_bytes()
    for trace in (str(Path(__file__).parents[2]), str(Path.home()), "site-packages", ".py"):
        assert trace.encode() not in data


def test_sizes_left_symbolic_may_be_any_multiples_of_4(dynamic: Artifact) -> None:
    assert dynamic.inputs[0].shape == ("batch", 3, "height", "width")
    checkpoint = tiny_checkpoint("bottleneck")
    for height, width in ((20, 20), (36, 28), (100, 84)):
        images = noise(2, 3, height, width)
        wanted = eager(checkpoint, normalized(images))
        np.testing.assert_allclose(outputs_of(dynamic, images), wanted, atol=1e-5 * wanted.std())


def test_decoded_images_go_in_and_probabilities_come_out(bytes_in: Artifact) -> None:
    shape = ("batch", SIDE_PX, SIDE_PX, 3)
    assert bytes_in.inputs == (TensorSpec(name="images", dtype="uint8", shape=shape),)
    assert bytes_in.outputs[0].name == "probabilities"
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    floats = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    logits = eager(tiny_checkpoint("decoder"), np.ascontiguousarray(normalized(floats)))
    wanted = torch.from_numpy(logits).sigmoid().numpy()
    np.testing.assert_allclose(outputs_of(bytes_in, pixels), wanted, atol=1e-6)


def test_softmax_gives_probabilities_that_sum_to_one(checkpoint: Checkpoint, make: Export) -> None:
    artifact = make(checkpoint, activation="softmax", batch=PAIRS, opset=20)
    images = noise(2, 3, SIDE_PX, SIDE_PX)
    wanted = torch.from_numpy(eager(checkpoint, images)).softmax(1).numpy()
    np.testing.assert_allclose(outputs_of(artifact, images), wanted, atol=1e-6)
    assert artifact.inputs[0].shape == (2, 3, SIDE_PX, SIDE_PX)
    assert artifact.batch == PAIRS
    assert graph_files.load(artifact.path).opset_imports[""] == 20


def test_a_range_of_batches_leaves_the_graph_symbolic_and_travels(
    checkpoint: Checkpoint, make: Export
) -> None:
    artifact = make(checkpoint, batch=Batch(min=2, opt=3, max=8))
    assert artifact.inputs[0].shape[0] == "batch"
    assert artifact.batch == Batch(min=2, opt=3, max=8)
    assert artifact.verified is not None
    assert "batches of 2 and 4" in artifact.verified
    assert graph_files.artifact_of(artifact.path) == artifact


def test_frelu_and_padded_channels_pass_the_same_check(make: Export) -> None:
    checkpoint = tiny_checkpoint("linear", activation="frelu", family="v2")
    artifact = make(checkpoint, pad_channels=True)
    images = noise(2, 3, SIDE_PX, SIDE_PX)
    wanted = eager(checkpoint, images)
    np.testing.assert_allclose(outputs_of(artifact, images), wanted, atol=1e-4 * wanted.std())
    weight = graph_files.load(artifact.path).graph.initializers["stem.conv.weight"]
    assert tuple(weight.shape or ()) == (32, 48, 3, 3)


def test_exporting_leaves_the_eager_network_as_it_was_and_repeats_itself(
    plain: Artifact, checkpoint: Checkpoint, make: Export
) -> None:
    images = noise(2, 3, SIDE_PX, SIDE_PX)
    before = eager(checkpoint, images)
    state = {name: tensor.clone() for name, tensor in checkpoint.model.state_dict().items()}
    assert make(checkpoint).sha256 == plain.sha256
    np.testing.assert_array_equal(eager(checkpoint, images), before)
    after = checkpoint.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in state.items())
    held = (*checkpoint.model.parameters(), *checkpoint.model.buffers())
    assert not any(isinstance(tensor, FakeTensor) for tensor in held)


def test_the_sidecar_says_how_the_check_went(plain: Artifact) -> None:
    assert artifacts.read(plain.path) == plain
    assert plain.verified is not None
    assert "against eager PyTorch, 4 images, batches of 1 and 3, onnxruntime" in plain.verified
    assert {"torch", "onnx", "onnxscript", "tresnet-deploy"} <= set(plain.versions)


def test_the_file_alone_tells_how_to_use_it(bytes_in: Artifact, tmp_path: Path) -> None:
    lonely = tmp_path / "renamed.onnx"
    lonely.write_bytes(bytes_in.path.read_bytes())
    found = graph_files.artifact_of(lonely)
    for field in ("preprocess", "labels", "inputs", "outputs", "source", "settings", "sha256"):
        assert getattr(found, field) == getattr(bytes_in, field)


@pytest.mark.parametrize(
    ("kind", "options", "several"),
    [
        ("linear", {}, False),
        ("linear", {"activation": "sigmoid"}, True),
        ("linear", {"multi_label": True}, True),
        ("bottleneck", {}, True),
        ("decoder", {}, True),
        ("decoder", {"activation": "softmax"}, False),
        ("decoder", {"multi_label": False}, False),
    ],
)
def test_head_and_activation_tell_whether_an_image_has_several_classes(
    kind: str, options: dict[str, object], several: bool
) -> None:
    labels = labels_for(tiny_checkpoint(kind), ExportOptions(**options))
    assert labels.multi_label is several


def one_output(checkpoint: Checkpoint) -> Checkpoint:
    single = dataclasses.replace(checkpoint.architecture, head=Head.linear(1))
    return dataclasses.replace(checkpoint, architecture=single)


@pytest.mark.parametrize("options", [{}, {"activation": "sigmoid"}, {"multi_label": True}])
def test_one_output_says_whether_its_class_is_shown(
    checkpoint: Checkpoint, options: dict[str, Any]
) -> None:
    assert labels_for(one_output(checkpoint), ExportOptions(**options)).multi_label


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"activation": "softmax"}, "--activation softmax"),
        ({"multi_label": False}, "--single-label"),
    ],
)
def test_one_output_cannot_choose_among_classes(
    checkpoint: Checkpoint, options: dict[str, Any], asked: str
) -> None:
    with pytest.raises(UsageError, match=f"{asked} does not fit a network of one output"):
        labels_for(one_output(checkpoint), ExportOptions(**options))


def test_a_network_for_other_colours_is_refused_before_it_is_traced(
    checkpoint: Checkpoint, photos: ImageSet, tmp_path: Path
) -> None:
    grey = dataclasses.replace(checkpoint.architecture, in_channels=1)
    checkpoint = dataclasses.replace(checkpoint, architecture=grey)
    with pytest.raises(UsageError, match="reads images of 1 channels, and those here are RGB"):
        export(
            checkpoint,
            tmp_path / "grey.onnx",
            source=SOURCE,
            options=ExportOptions(),
            images=photos,
        )


def test_class_names_come_from_the_checkpoint(checkpoint: Checkpoint) -> None:
    names = ("ant", "bee", "cat", "dog", "eel")
    named = dataclasses.replace(checkpoint, class_names=names)
    assert labels_for(named, ExportOptions()).names == names


def test_the_file_is_called_after_the_variant(checkpoint: Checkpoint) -> None:
    assert file_name(checkpoint) == "tresnet.onnx"
    body = dataclasses.replace(checkpoint.architecture, width=64, depths=(3, 4, 11, 3))
    assert file_name(dataclasses.replace(checkpoint, architecture=body)) == "tresnet_m.onnx"


def test_a_finished_file_is_not_replaced_unasked(
    plain: Artifact, checkpoint: Checkpoint, photos: ImageSet
) -> None:
    options = ExportOptions()
    with pytest.raises(UsageError, match=r"tiny\.onnx exists"):
        export(checkpoint, plain.path, source=SOURCE, options=options, images=photos)
    assert artifacts.read(plain.path) == plain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 17}, "opset 17 is not between 18 and 23"),
        ({"opset": 24}, "opset 24 is not between 18 and 23"),
        ({"batch": Batch(min=0, opt=1, max=2)}, "a batch of 0:1:2 must rise from 1 or more"),
        ({"batch": Batch(min=4, opt=2, max=8)}, "a batch of 4:2:8 must rise"),
    ],
)
def test_options_that_no_graph_has_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportOptions(**options)


@pytest.mark.parametrize("size", [(30, 32), (32, 16)])
def test_a_size_that_tresnet_cannot_take_is_refused_before_any_work(
    size: tuple[int, int], checkpoint: Checkpoint, photos: ImageSet, tmp_path: Path
) -> None:
    target = tmp_path / "deploy" / "a.onnx"
    with pytest.raises(UsageError, match="multiples of 4 from 20 px up") as caught:
        export(
            checkpoint,
            target,
            source=SOURCE,
            options=ExportOptions(image_size=size),
            images=photos,
        )
    assert caught.value.hints[0].startswith("--image-size")
    assert not target.parent.exists()


def test_unreadable_images_stop_the_export_before_any_work(
    checkpoint: Checkpoint, photos: ImageSet, tmp_path: Path
) -> None:
    gone = dataclasses.replace(photos.files[0], path=tmp_path / "gone.jpg")
    images = dataclasses.replace(photos, files=(gone,))
    with pytest.raises(ImageError, match=r"gone\.jpg"):
        export(
            checkpoint,
            tmp_path / "deploy" / "a.onnx",
            source=SOURCE,
            options=ExportOptions(),
            images=images,
        )
    assert files_in(tmp_path) == set()
