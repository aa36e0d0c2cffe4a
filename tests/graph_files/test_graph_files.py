"""Reading ONNX files that anyone may have made, and our own without their sidecar."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.contracts import Artifact, Batch, Labels, Preprocess, Source
from tresnet_deploy.errors import ArtifactError, UsageError

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def proto(*, opset: int = 18, ir_version: int = 10, op_type: str = "MatMul") -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op_type, ["images", "w"], ["logits"], name="fc")],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir_version,
        producer_name="somebody",
        producer_version="7",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's model lies: in a folder of its own."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder / "m.onnx"


@pytest.fixture
def artifact(path: Path) -> Artifact:
    """What our own exporter would say of the model at ``path``."""
    inputs, outputs = graph_files.tensor_specs(ir.from_proto(proto()))
    return Artifact(
        path=path,
        kind="onnx",
        step="export",
        sha256="",
        architecture="tresnet_m",
        precision="fp32",
        inputs=inputs,
        outputs=outputs,
        preprocess=Preprocess(height_px=64, width_px=32, mean=(0.5, 0.25, 0.125)),
        labels=Labels(classes=4, names=("a", "b", "c", "Königskerze")),
        source=Source(kind="file", location="/home/me/secret/w.pth", sha256="0" * 64),
        batch=Batch(min=1, opt=1, max=1),
        settings={"opset": 18, "operators": "function", "pad_channels": False},
        versions={"torch": "2"},
    )


def with_external_weight(path: Path, location: str, *, offset: int = 0) -> None:
    model = proto()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": offset, "length": WEIGHT.nbytes}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())


def test_a_saved_graph_is_read_back(path: Path) -> None:
    graph_files.save(ir.from_proto(proto()), path)
    model = graph_files.load(path)
    value = model.graph.initializers["w"].const_value
    assert value is not None
    np.testing.assert_array_equal(value.numpy(), WEIGHT)


def test_specs_name_symbolic_dimensions() -> None:
    (images,), (logits,) = graph_files.tensor_specs(ir.from_proto(proto()))
    assert (images.name, images.dtype, images.shape) == ("images", "float32", ("batch", 3))
    assert (logits.name, logits.dtype, logits.shape) == ("logits", "float32", ("batch", 4))


def test_an_unnamed_dimension_gets_a_name_of_its_own() -> None:
    model = ir.from_proto(proto())
    model.graph.inputs[0].shape = ir.Shape([None, 3])
    ((images,), _) = graph_files.tensor_specs(model)
    assert images.shape == ("images_0", 3)


def test_a_missing_file_is_a_usage_error_with_the_command_that_makes_one(path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*m\.onnx") as caught:
        graph_files.load(path)
    assert caught.value.hints == ("make one with: tresnet-deploy export",)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        graph_files.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04....", "a zip archive, as PyTorch checkpoints"),
        (b"\x80\x02}q\x00.", "a pickle"),
        (b"<?xml version='1.0'?><net/>", "XML or HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"ftrt\x00\x00", "a TensorRT engine"),
        (b"vtrt\x00\x00", "a TensorRT-RTX engine"),
        (b"hello, I am a text", "no ONNX model"),
        (b"\x08\x0a", "it holds no graph"),
    ],
)
def test_a_file_that_is_no_model_is_called_what_it_is(
    path: Path, content: bytes, reason: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=reason) as caught:
        graph_files.load(path)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_model_is_refused(path: Path, share: float) -> None:
    data = proto().SerializeToString()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ArtifactError, match=r"no ONNX model|not a valid"):
        graph_files.load(path)


def test_a_newer_opset_names_both_versions_and_ways_out(path: Path) -> None:
    path.write_bytes(proto(opset=99).SerializeToString())
    with pytest.raises(
        ArtifactError, match=f"opset 99; the installed onnx {onnx.__version__}"
    ) as e:
        graph_files.load(path)
    assert e.value.hints == ("pip install --upgrade onnx", "tresnet-deploy export --opset 18")


def test_a_newer_file_version_is_refused(path: Path) -> None:
    path.write_bytes(proto(ir_version=99).SerializeToString())
    with pytest.raises(ArtifactError, match=r"ir_version\) 99"):
        graph_files.load(path)


def test_a_graph_that_breaks_the_standard_is_refused(path: Path) -> None:
    path.write_bytes(proto(op_type="NoSuchOperator").SerializeToString())
    with pytest.raises(ArtifactError, match=r"not a valid ONNX model: .*NoSuchOperator"):
        graph_files.load(path)


def test_a_node_that_reads_nothing_known_is_refused(path: Path) -> None:
    model = proto()
    model.graph.node[0].input[0] = "ghost"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=r"not a valid ONNX model: .*ghost"):
        graph_files.load(path)


def test_external_weights_beside_the_model_are_loaded(path: Path) -> None:
    (path.parent / "w.bin").write_bytes(WEIGHT.tobytes())
    with_external_weight(path, "w.bin")
    value = graph_files.load(path).graph.initializers["w"].const_value
    assert not isinstance(value, ir.ExternalTensor)
    assert value is not None
    np.testing.assert_array_equal(value.numpy(), WEIGHT)


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "sub/../../secret.bin", "{absolute}", "C:\\secret.bin", "..\\s.bin"],
)
def test_weights_outside_the_models_folder_are_never_read(path: Path, location: str) -> None:
    secret = path.parent.parent / "secret.bin"
    secret.write_bytes(WEIGHT.tobytes())
    with_external_weight(path, location.format(absolute=secret))
    with pytest.raises(ArtifactError, match="outside its own folder: refused"):
        graph_files.load(path)


def test_a_link_that_leads_out_of_the_folder_is_refused(path: Path) -> None:
    secret = path.parent.parent / "secret.bin"
    secret.write_bytes(WEIGHT.tobytes())
    (path.parent / "w.bin").symlink_to(secret)
    with_external_weight(path, "w.bin")
    with pytest.raises(ArtifactError, match="outside its own folder: refused"):
        graph_files.load(path)


@pytest.mark.parametrize("location", ["a\0b", 300 * "a", "loop"])
def test_weights_in_a_file_that_cannot_be_are_refused(path: Path, location: str) -> None:
    (path.parent / "loop").symlink_to(path.parent / "loop")
    with_external_weight(path, location)
    with pytest.raises(ArtifactError, match=r"no possible name|does not lie beside it"):
        graph_files.load(path)


def test_missing_external_weights_name_the_file_to_copy(path: Path) -> None:
    with_external_weight(path, "w.bin")
    with pytest.raises(ArtifactError, match="does not lie beside it") as caught:
        graph_files.load(path)
    assert caught.value.hints == ("copy w.bin along with the model",)


def test_truncated_external_weights_are_refused(path: Path) -> None:
    (path.parent / "w.bin").write_bytes(WEIGHT.tobytes()[:-1])
    with_external_weight(path, "w.bin")
    with pytest.raises(ArtifactError, match=r"has 47 bytes, but m\.onnx needs 48"):
        graph_files.load(path)


@pytest.mark.parametrize("offset", [-1, 2**62])
def test_an_offset_out_of_the_file_is_refused(path: Path, offset: int) -> None:
    (path.parent / "w.bin").write_bytes(WEIGHT.tobytes())
    with_external_weight(path, "w.bin", offset=offset)
    with pytest.raises(ArtifactError, match=r"offset|is truncated"):
        graph_files.load(path)


def test_a_length_that_does_not_fit_the_shape_is_refused(path: Path) -> None:
    (path.parent / "w.bin").write_bytes(WEIGHT.tobytes())
    with_external_weight(path, "w.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[0] = 10**12
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="with 48 bytes, but its shape needs 16000000000000"):
        graph_files.load(path)


def test_a_hard_link_is_refused(path: Path) -> None:
    secret = path.parent.parent / "secret.bin"
    secret.write_bytes(WEIGHT.tobytes())
    (path.parent / "w.bin").hardlink_to(secret)
    with_external_weight(path, "w.bin")
    with pytest.raises(ArtifactError, match="multiple hard links"):
        graph_files.load(path)


def test_an_external_tensor_in_an_attribute_is_checked_too(path: Path) -> None:
    model = proto()
    tensor = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["unused"], value=tensor))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="'hidden' in '/etc/hostname', outside its own folder"):
        graph_files.load(path)


def test_a_file_without_its_sidecar_still_tells_its_artefact(
    path: Path, artifact: Artifact
) -> None:
    model = ir.from_proto(proto())
    graph_files.embed(model, artifact)
    graph_files.save(model, path)
    found = graph_files.artifact_of(path)
    named = dataclasses.replace(artifact.source, location="w.pth")
    digest = artifacts.sha256_of(path)
    assert found == dataclasses.replace(artifact, sha256=digest, source=named)


def test_metadata_holds_no_path_of_the_maker(artifact: Artifact) -> None:
    model = ir.from_proto(proto())
    graph_files.embed(model, artifact)
    assert "secret" not in "".join(model.metadata_props.values())


def test_embedding_again_replaces_what_was_there(artifact: Artifact) -> None:
    model = ir.from_proto(proto())
    model.metadata_props["theirs"] = "kept"
    graph_files.embed(model, artifact)
    graph_files.embed(model, dataclasses.replace(artifact, precision="int8", batch=None))
    assert model.metadata_props["theirs"] == "kept"
    assert model.metadata_props["tresnet_deploy.precision"] == '"int8"'


def test_a_sidecar_goes_before_the_metadata(path: Path, artifact: Artifact) -> None:
    with artifacts.publishing(path, overwrite=False) as staging:
        graph_files.save(ir.from_proto(proto()), staging.path)
        written = staging.finish(artifact)
    assert graph_files.artifact_of(path) == written


def test_a_model_of_another_tool_is_refused_with_its_makers_name(path: Path) -> None:
    path.write_bytes(proto().SerializeToString())
    with pytest.raises(ArtifactError, match="made by somebody 7, not by tresnet-deploy"):
        graph_files.artifact_of(path)


def test_damaged_metadata_is_refused(path: Path, artifact: Artifact) -> None:
    model = ir.from_proto(proto())
    graph_files.embed(model, artifact)
    model.metadata_props["tresnet_deploy.labels"] = "{"
    graph_files.save(model, path)
    with pytest.raises(ArtifactError, match=r"metadata in .* cannot be read"):
        graph_files.artifact_of(path)


@pytest.mark.parametrize("where", ["key", "value", "producer_name"])
def test_metadata_that_is_no_text_is_refused(path: Path, artifact: Artifact, where: str) -> None:
    model = ir.from_proto(proto())
    graph_files.embed(model, artifact)
    graph_files.save(model, path)
    word = {"key": b"tresnet_deploy.labels", "value": b'"fp32"', "producer_name": b"somebody"}[
        where
    ]
    data = path.read_bytes()
    assert word in data
    path.write_bytes(data.replace(word, b"\xff" + word[1:]))
    with pytest.raises(ArtifactError, match="cannot be read"):
        graph_files.artifact_of(path)


def test_metadata_of_another_schema_is_refused(path: Path, artifact: Artifact) -> None:
    model = ir.from_proto(proto())
    graph_files.embed(model, artifact)
    model.metadata_props["tresnet_deploy.schema_version"] = "99"
    graph_files.save(model, path)
    with pytest.raises(ArtifactError, match="schema_version 99"):
        graph_files.artifact_of(path)


def test_a_weight_whose_bytes_do_not_fit_its_shape_is_refused_when_read(path: Path) -> None:
    model = proto()
    model.graph.initializer[0].dims[0] = 5
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=r"m\.onnx is damaged: the weight 'w' cannot be read"):
        graph_files.load(path)


@pytest.mark.parametrize("kind", [TensorProto.UNDEFINED, 99])
def test_a_constant_of_no_known_type_is_refused_when_read(path: Path, kind: int) -> None:
    model = proto()
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(WEIGHT))
    constant.attribute[0].t.data_type = kind
    model.graph.node.append(constant)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=r"m\.onnx is "):
        graph_files.load(path)


def test_a_name_that_is_no_text_is_refused(path: Path) -> None:
    model = proto()
    model.graph.node[0].op_type = "NoSuchOperator"
    path.write_bytes(model.SerializeToString().replace(b"NoSuchOperator", b"NoSuchOper\xff\xfeor"))
    with pytest.raises(ArtifactError, match=r"m\.onnx is "):
        graph_files.load(path)
