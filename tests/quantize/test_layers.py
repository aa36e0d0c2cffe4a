from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy import passes
from tresnet_deploy.precision.layers import depths, residual, roles, same_range

from .conftest import Network, parsed

W = np.zeros((3, 3, 1, 1), np.float32)


def counted(model: ir.Model) -> Counter[str]:
    return Counter(roles(model.graph).values())


def test_every_layer_of_a_network_has_its_role(network: Network) -> None:
    # 5 blocks: 3 basic and 2 bottlenecks; SE in four of them; three shortcuts.
    assert counted(network("linear")) == {
        "stem": 1,
        "body": 3 * 2 + 2 * 3 + 3,
        "squeeze": 4 * 2,
        "blur": 3,
        "head": 1,
    }


def test_the_layers_of_an_ml_decoder_are_its_head(network: Network) -> None:
    found = roles(network("decoder").graph)
    heads = {node.name for node, role in found.items() if role == "head"}
    assert heads
    assert all(name is not None and name.startswith("head.") for name in heads)
    assert not [n for n, role in found.items() if role != "head" and "head." in (n.name or "")]


def test_the_depthwise_convolutions_of_frelu_are_no_body(network: Network) -> None:
    model = network("frelu")
    depthwise = {
        node
        for node in model.graph
        if node.op_type == "Conv" and node.attributes.get_int("group", 1) > 1
    }
    assert depthwise
    assert {role for node, role in roles(model.graph).items() if node in depthwise} == {"blur"}


@pytest.mark.parametrize("kind", ["linear", "frelu"])
def test_inlined_operators_change_no_role(network: Network, kind: str) -> None:
    inlined = network(kind)
    passes.run(inlined, ("inline-operators",))
    assert counted(inlined) == counted(network(kind))


def test_the_names_of_nodes_do_not_matter(network: Network) -> None:
    model = network("linear")
    for number, node in enumerate(model.graph):
        node.name = f"node_{number}"
    assert counted(model) == counted(network("linear"))


def test_a_product_of_two_activations_is_no_layer() -> None:
    model = parsed("g (float[2,2] x) => (float[2,2] y) { y = MatMul(x, x) }")
    assert not roles(model.graph)


def residuals(body: str) -> list[str | None]:
    model = parsed(f"g (float[1,3,4,4] x) => (float[1,3,4,4] y) {{ {body} }}", w=W, b=W[:, 0])
    depth = depths(model.graph)
    return [value.name for node in model.graph if (value := residual(node, depth)) is not None]


def test_the_skip_connection_is_the_branch_with_fewer_convolutions() -> None:
    assert residuals("r = Relu(x) c = Conv(r, w) y = Add(c, r)") == ["r"]
    assert residuals("r = Relu(x) c = Conv(r, w) y = Add(r, c)") == ["r"]


def test_the_shortcut_of_a_block_that_changes_shape_is_its_convolution() -> None:
    body = "r = Relu(x) s = Conv(r, w) c = Conv(r, w) d = Conv(c, w) y = Add(d, s)"
    assert residuals(body) == ["s"]


def test_a_bias_and_two_equal_branches_are_no_skip_connections() -> None:
    assert residuals("c = Conv(x, w) y = Add(c, b)") == []
    assert residuals("c = Conv(x, w) d = Conv(x, w) y = Add(c, d)") == []


def test_moving_values_about_keeps_their_range() -> None:
    model = parsed(
        "g (float[1,3,8,8] x) => (float[1,48,4,4] y) {"
        'p = Pad<mode="reflect">(x, pads) s = SpaceToDepth<blocksize=2>(x)'
        "t = Transpose<perm=[0,1,2,3]>(s) y = Relu(t) z = Pad(x, pads) }",
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    )
    by_name = {node.outputs[0].name: node.outputs[0] for node in model.graph}
    assert same_range(by_name["t"]).name == "x"
    assert same_range(by_name["p"]).name == "x"
    assert same_range(by_name["y"]).name == "y"
    assert same_range(by_name["z"]).name == "z", "padding with zeros adds a value"
