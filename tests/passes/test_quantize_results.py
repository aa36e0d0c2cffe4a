import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import AMAX, quantize_results

from .conftest import evaluated, noise, operators, parsed

EVALUATED_OPSET = 19  # the first whose DequantizeLinear onnx's reference evaluator has
CONV = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(k, s, z) "
TO_ADD = CONV + "c = Conv(d, v) y = Add(c, d)"
HALF_STEP = 0.05


def graph(body: str, amax: str | None = "12.7") -> ir.Model:
    model = parsed(
        f"g (float[N,3,8,8] x) => (float[N,3,8,8] y) {{ {body} }}",
        k=np.random.default_rng(0).integers(-127, 128, (3, 3, 1, 1), np.int8),
        s=np.float32(0.05),
        z=np.int8(0),
    )
    model.opset_imports[""] = EVALUATED_OPSET
    for node in model.graph if amax else ():
        node.outputs[0].metadata_props[AMAX] = amax
    return model


def test_a_result_is_rounded_to_its_recorded_range() -> None:
    model = graph(TO_ADD)
    images = (noise(2, 3, 8, 8) / 2).astype(np.float32)
    before = evaluated(model, images)
    assert quantize_results.apply(model).changed == 1
    change = np.abs(evaluated(model, images) - before).max()
    assert 0 < change <= HALF_STEP * 1.001


@pytest.mark.parametrize(
    "body",
    [
        CONV + "c = Conv(d, v) y = Relu(c)",
        CONV + "c = Conv(d, v) y = LeakyRelu<alpha=0.1>(c)",
        CONV + "c = Conv(d, v) r = QuantizeLinear(c, s, z) y = DequantizeLinear(r, s, z)",
        CONV + "y = Conv(d, v)",
        "v = DequantizeLinear(k, s, z) c = Conv(x, v) y = Add(c, x)",
    ],
    ids=["relu", "leaky", "rounded already", "output of the graph", "float convolution"],
)
def test_other_results_are_no_match(body: str) -> None:
    model = graph(body)
    before = operators(model)
    outcome = quantize_results.apply(model)
    assert (outcome.changed, outcome.left) == (0, ())
    assert operators(model) == before


def test_a_result_without_a_recorded_range_is_left_with_the_reason() -> None:
    outcome = quantize_results.apply(graph(TO_ADD, amax=None))
    assert outcome.changed == 0
    assert [refusal.reason for refusal in outcome.left] == ["no range of its output is recorded"]
