"""Nodes that our kernels compute ask for a plugin; all others stay as they are."""

import numpy as np
import onnx_ir as ir
import pytest
from tresnet_deploy.plugins import blur_pool, wanted_by

from tresnet_deploy.backends.onnxruntime import session_of
from tresnet_deploy.contracts import run
from tresnet_deploy.passes import inline_operators, plugin_operators

from .conftest import copied, parsed

BLUR = """
blur (float[N, 4, 8, 8] x) => (float[N, 4, 4, 4] y) {
    y = tresnet.BlurPool2d <group: int = 4> (x, filter)
}
"""


def test_all_operators_of_a_network_ask_for_a_plugin(network: ir.Model) -> None:
    model = copied(network)
    outcome = plugin_operators.apply(model)
    assert outcome.left == ()
    assert len(wanted_by(model)) == outcome.changed == 4
    assert wanted_by(network) == ()


def test_a_marked_graph_still_runs_where_there_is_no_plugin(demo_graph) -> None:
    model = ir.load(demo_graph.path)
    plugin_operators.apply(model)
    images = np.random.default_rng(0).random((2, 3, 64, 64), dtype=np.float32)
    results = []
    for each in (ir.load(demo_graph.path), model):
        session = session_of(each)
        results.append(next(iter(run(session, {"images": images}).values())))
        session.close()
    np.testing.assert_array_equal(*results)


def test_a_marked_graph_can_be_inlined(network: ir.Model) -> None:
    model = copied(network)
    plugin_operators.apply(model)
    outcome = inline_operators.apply(model)
    assert outcome.left == ()
    assert not [node for node in model.graph if node.domain == "tresnet"]


@pytest.mark.parametrize(
    ("taps", "reason"),
    [
        (np.ones((4, 1, 3, 3), np.float32) / 9, "its filter is not the binomial one"),
        (blur_pool.binomial_filter(2), "its group is not the number of channels"),
    ],
)
def test_a_blur_that_no_kernel_computes_is_left_alone(taps, reason: str) -> None:
    model = parsed(BLUR, filter=taps)
    outcome = plugin_operators.apply(model)
    assert outcome.changed == 0
    assert [each.reason for each in outcome.left] == [reason]
    assert wanted_by(model) == ()


def test_a_block_without_a_kernel_is_left_alone() -> None:
    text = "m (float[1, 1, 6, 6] x) => (y) { y = tresnet.SpaceToDepth <blocksize: int = 3> (x) }"
    outcome = plugin_operators.apply(parsed(text))
    assert [each.reason for each in outcome.left] == ["there is no kernel for blocks of 3"]
