"""What every pass promises; a new file in the folder is tested without an edit here."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tresnet_deploy import passes
from tresnet_deploy.errors import UsageError
from tresnet_deploy.graph_files import tensor_specs
from tresnet_deploy.registry import BACKENDS, PASSES

from .conftest import Arrays, copied, evaluated

TOLERANCE = 1e-10
every_pass = pytest.mark.parametrize("name", PASSES.names())


@every_pass
def test_a_pass_changes_no_output_in_float64(name: str, network: ir.Model, images: Arrays) -> None:
    model = copied(network)
    passes.run(model, ("inline-operators", name) if name == "edge-only-pad" else (name,))
    before, after = evaluated(network, images), evaluated(model, images)
    assert np.abs(after - before).max() <= TOLERANCE * np.abs(before).max()


@every_pass
def test_a_pass_leaves_a_valid_graph_with_the_same_inputs_and_outputs(
    name: str, network: ir.Model
) -> None:
    model = copied(network)
    passes.run(model, (name,))
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert tensor_specs(model) == tensor_specs(network)


@every_pass
def test_a_pass_finds_nothing_more_to_do_after_itself(name: str, network: ir.Model) -> None:
    model = copied(network)
    passes.run(model, (name,))
    ((_, outcome),) = passes.run(model, (name,))
    assert outcome.changed == 0


@every_pass
def test_a_pass_gives_a_reason_for_each_match_it_leaves(name: str, network: ir.Model) -> None:
    ((_, outcome),) = passes.run(copied(network), (name,))
    assert all(refusal.match and refusal.reason for refusal in outcome.left)


@every_pass
def test_a_pass_draws_its_graph_before_and_after_and_says_what_it_leaves(name: str) -> None:
    drawing = PASSES.load(name).__doc__ or ""
    assert all(part in drawing for part in ("before:", "after:", "Left alone"))


def test_all_passes_together_change_no_output(network: ir.Model, images: Arrays) -> None:
    model = copied(network)
    passes.run(model, PASSES.names())
    passes.run(model, PASSES.names())
    before, after = evaluated(network, images), evaluated(model, images)
    assert np.abs(after - before).max() <= TOLERANCE * np.abs(before).max()


@pytest.mark.parametrize("stage", sorted(passes.DEFAULT_ORDER))
def test_default_orders_name_passes_that_exist(stage: str) -> None:
    assert stage == "export" or stage in BACKENDS.names()
    assert set(passes.order_for(stage)) <= set(PASSES.names())


def test_an_unknown_stage_has_no_default_passes() -> None:
    assert passes.order_for("pytorch") == ()


def test_an_unknown_pass_is_a_usage_error(network: ir.Model) -> None:
    with pytest.raises(UsageError, match="no graph pass is called 'fold-moon'"):
        passes.run(copied(network), ("fold-moon",))
