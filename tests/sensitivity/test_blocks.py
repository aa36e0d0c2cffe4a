"""The blocks of a graph: named as the torch modules, and cut where one tensor passes."""

import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy import graph_files, weights
from tresnet_deploy.blocks import block_of, blocks_of, expression_of, module_of, piece, segments
from tresnet_deploy.contracts import Artifact, run
from tresnet_deploy.errors import ArtifactError
from tresnet_deploy.quantize.graphs import runtime_session


@pytest.fixture(scope="module")
def model(demo_graph: Artifact) -> ir.Model:
    return graph_files.load(demo_graph.path)


def test_each_residual_block_is_a_segment_between_stem_and_head(model: ir.Model) -> None:
    blocks = [segment.blocks for segment in segments(model.graph)]
    assert blocks[0] == ("stem",)
    assert blocks[1] == ("layer1.0",)
    assert blocks[-1] == ("head",)
    assert len(blocks) == 1 + (3 + 4 + 11 + 3) + 1


def test_nodes_are_called_as_the_torch_modules(model: ir.Model, demo_graph: Artifact) -> None:
    network = weights.load(demo_graph.source).model
    for node, block in blocks_of(model.graph).items():
        network.get_submodule(block)
        if node.op_type == "Conv":
            network.get_submodule(module_of(node))


def test_each_segment_begins_where_the_one_before_ends(model: ir.Model) -> None:
    found = segments(model.graph)
    assert found[0].source == model.graph.inputs[0].name
    assert found[-1].target == model.graph.outputs[0].name
    assert [each.source for each in found[1:]] == [each.target for each in found[:-1]]


def test_quantisation_keeps_the_names_between_blocks(model: ir.Model, demo_int8: Artifact) -> None:
    quantised = graph_files.load(demo_int8.path)
    names = {value.name for node in quantised.graph for value in node.outputs}
    assert {segment.target for segment in segments(model.graph)} <= names


def test_the_pieces_one_after_the_other_compute_what_the_graph_does(model: ir.Model) -> None:
    images = np.random.default_rng(0).random((2, 3, 64, 64), dtype=np.float32)
    (wanted,) = run(runtime_session(model), {"images": images}).values()
    value = images
    for segment in segments(model.graph):
        session = runtime_session(piece(model, segment))
        (value,) = run(session, {segment.source: value}).values()
    np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4)


def parsed(text: str) -> ir.Model:
    return ir.from_onnx_text(f'<ir_version: 10, opset_import: ["": 18]> {text}')


def named(model: ir.Model, *names: str) -> ir.Model:
    for node, name in zip(model.graph, names, strict=True):
        node.name = name
    return model


def test_blocks_that_two_tensors_join_stay_together() -> None:
    model = named(
        parsed(
            "g (float[1] x) => (float[1] y) { a = Relu(x)  b = Neg(x)  c = Add(a, b)  y = Abs(c) }"
        ),
        "stem/Relu",
        "stem/Neg",
        "layer1.0/Add",
        "head/Abs",
    )
    assert [each.blocks for each in segments(model.graph)] == [("stem", "layer1.0"), ("head",)]


def test_a_graph_without_module_names_is_refused() -> None:
    model = named(parsed("g (float[1] x) => (float[1] y) { y = Relu(x) }"), "Relu_0")
    with pytest.raises(ArtifactError, match="not named after the network's modules"):
        segments(model.graph)


def test_nodes_without_a_module_belong_to_what_came_before() -> None:
    model = named(
        parsed("g (float[1] x) => (float[1] y) { a = Neg(x)  b = Relu(a)  y = Abs(b) }"),
        "Neg",
        "stem.conv/Relu",
        "Abs",
    )
    assert set(blocks_of(model.graph).values()) == {"stem"}


@pytest.mark.parametrize(
    ("name", "block", "module"),
    [
        ("layer1.0.conv1.conv/Conv", "layer1.0", "layer1.0.conv1.conv"),
        ("layer3.10/Add", "layer3.10", "layer3.10"),
        ("stem.conv/Conv", "stem", "stem.conv"),
        ("space_to_depth/SpaceToDepth", None, "space_to_depth"),
        ("Softmax", None, ""),
    ],
)
def test_a_name_tells_block_and_module(name: str, block: str | None, module: str) -> None:
    node = ir.node("Relu", [], name=name)
    assert (block_of(node), module_of(node)) == (block, module)


def test_an_expression_does_not_match_a_block_whose_number_begins_alike() -> None:
    import re

    pattern = re.compile(expression_of("layer3.1"))
    assert pattern.search("layer3.1/Add")
    assert pattern.search("layer3.1.conv1.conv/Conv")
    assert not pattern.search("layer3.10/Add")
