import onnx_ir as ir
import pytest

from tresnet_deploy import passes
from tresnet_deploy.errors import UsageError
from tresnet_deploy.precision.layers import roles
from tresnet_deploy.precision.placement import ALL_ROLES, Placement, observed, place

from .conftest import Network


@pytest.fixture
def model(network: Network) -> ir.Model:
    return network("linear")


def names(placement: Placement) -> set[str | None]:
    return {value.name for value in placement.activations}


def test_stem_and_body_are_int8_and_the_rest_float(model: ir.Model) -> None:
    placed = set(place(model.graph).layers)
    for node, role in roles(model.graph).items():
        assert (node in placed) == (role in ("stem", "body")), node.name


def test_no_pair_stands_between_a_convolution_and_its_activation(model: ir.Model) -> None:
    for value in place(model.graph).activations:
        readers = {reader.op_type for reader in value.consumers()}
        producer = value.producer()
        assert producer is not None
        assert not (producer.op_type == "Conv" and readers & {"LeakyRelu", "Relu"}), value.name


def test_an_identity_block_shares_one_pair_between_convolution_and_addition(
    model: ir.Model,
) -> None:
    placed = names(place(model.graph))
    assert "layer2.0.activation/Relu" in placed
    assert "layer2.1/Add" not in placed


def test_additions_take_one_input_quantised(model: ir.Model) -> None:
    placed = names(place(model.graph))
    additions = [node for node in model.graph if node.op_type == "Add"]
    assert additions
    for node in additions:
        quantised = [value for value in node.inputs if value and value.name in placed]
        assert len(quantised) == 1, node.name


def test_a_shortcut_that_changes_shape_is_quantised_after_its_convolution(
    model: ir.Model,
) -> None:
    placed = names(place(model.graph))
    assert {f"layer{n}.0.shortcut.project.conv/Conv" for n in (2, 3, 4)} <= placed


def test_the_input_of_the_head_stays_float(model: ir.Model) -> None:
    assert "head.pool/ReduceMean" not in names(place(model.graph))
    assert "layer4.0.activation/Relu" not in names(place(model.graph))


def test_all_roles_quantise_every_layer_once_the_operators_are_inlined(model: ir.Model) -> None:
    passes.run(model, ("inline-operators",))
    assert set(place(model.graph, which=ALL_ROLES).layers) == set(roles(model.graph))


def test_excluded_layers_and_what_only_they_read_stay_float(model: ir.Model) -> None:
    placement = place(model.graph, exclude=(r"^layer1\.0\.conv2",))
    assert "layer1.0.conv2.conv/Conv" not in {node.name for node in placement.layers}
    assert "layer1.0.conv1.activation/LeakyRelu" not in names(placement)
    assert "layer1.0.conv1.activation/LeakyRelu" in names(place(model.graph))


def test_an_addition_can_be_excluded(model: ir.Model) -> None:
    placement = place(model.graph, exclude=(r"^layer2\.0/Add$",))
    assert "layer2.0.shortcut.project.conv/Conv" not in names(placement)


def test_several_expressions_add_up(model: ir.Model) -> None:
    before = len(place(model.graph).layers)
    both = place(model.graph, exclude=("^stem", r"layer4\.0\.conv3"))
    assert len(both.layers) == before - 2


def test_an_expression_that_matches_nothing_is_refused_with_an_example(model: ir.Model) -> None:
    with pytest.raises(UsageError, match=r"'layer9' matches none of the \d+ layers.*like layer"):
        place(model.graph, exclude=("stem", "layer9"))


def test_a_malformed_expression_is_refused(model: ir.Model) -> None:
    with pytest.raises(UsageError, match=r"'\(' is no regular expression"):
        place(model.graph, exclude=("(",))


def test_who_reads_a_dead_activation_stays_float(model: ir.Model) -> None:
    dead = "layer1.0.conv1.activation/LeakyRelu"
    placement = place(model.graph, dead=frozenset({dead}))
    assert dead not in names(placement)
    assert "layer1.0.conv2.conv/Conv" not in {node.name for node in placement.layers}


@pytest.mark.parametrize("kind", ["linear", "decoder", "frelu"])
def test_the_observed_tensors_serve_every_placement_of_every_form(
    network: Network, kind: str
) -> None:
    watched = observed(network(kind).graph)
    inlined = network(kind)
    passes.run(inlined, ("inline-operators",))
    assert set(observed(inlined.graph)) <= set(watched)
    assert len(set(watched)) == len(watched)
