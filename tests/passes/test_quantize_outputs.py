import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import AMAX, quantize_outputs

from .conftest import evaluated, noise, operators, parsed

EVALUATED_OPSET = 19  # the first whose DequantizeLinear onnx's reference evaluator has
STEP = np.float32(0.05)
CONV = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(k, s, z) "
LEAKY = (
    CONV
    + "c = Conv(d, v) a = LeakyRelu<alpha=0.01>(c) "
    + "r = QuantizeLinear(a, t, z) y = DequantizeLinear(r, t, z)"
)
TO_ADD = CONV + "c = Conv(d, v) y = Add(c, d)"


def graph(body: str, *, output_step: float = 0.1) -> ir.Model:
    kernel = np.random.default_rng(0).integers(-127, 128, (3, 3, 1, 1), np.int8)
    model = parsed(
        f"g (float[N,3,8,8] x) => (float[N,3,8,8] y) {{ {body} }}",
        k=kernel,
        s=STEP,
        t=np.float32(output_step),
        z=np.int8(0),
    )
    model.opset_imports[""] = EVALUATED_OPSET
    return model


def images() -> npt.NDArray[np.float32]:
    return (noise(2, 3, 8, 8) / 2).astype(np.float32)


def recorded(body: str, name: str, amax: str) -> ir.Model:
    model = graph(body)
    (value,) = (o for node in model.graph for o in node.outputs if o.name == name)
    value.metadata_props[AMAX] = amax
    return model


def test_positive_activations_keep_their_integers_and_negative_ones_move_a_step_at_most() -> None:
    model = graph(LEAKY)
    before = evaluated(model, images())
    assert (before < 0).any(), "the test needs negative activations that do not round to 0"
    assert quantize_outputs.apply(model).changed == 1
    after = evaluated(model, images())
    np.testing.assert_array_equal(after[before > 0], before[before > 0])
    assert np.abs(after - before).max() <= 0.1 * 1.001


def test_the_pair_stands_between_the_convolution_and_its_activation() -> None:
    model = graph(LEAKY)
    quantize_outputs.apply(model)
    after_conv = operators(model)[operators(model).index("Conv") :]
    assert after_conv[:4] == ["Conv", "QuantizeLinear", "DequantizeLinear", "LeakyRelu"]


def test_an_output_without_activation_is_quantised_by_its_recorded_range() -> None:
    model = recorded(TO_ADD, "c", "12.7")
    before = evaluated(model, images())
    assert quantize_outputs.apply(model).changed == 1
    after = evaluated(model, images())
    assert np.abs(after - before).max() <= 0.05 * 1.001  # half of a step of 12.7 / 127
    assert np.abs(after - before).max() > 0


def test_a_range_recorded_with_the_activation_serves_its_convolution() -> None:
    body = CONV + "c = Conv(d, v) a = LeakyRelu<alpha=0.01>(c) y = Add(a, a)"
    assert quantize_outputs.apply(recorded(body, "a", "12.7")).changed == 1


@pytest.mark.parametrize("amax", ["0.0", "nan", "inf"])
def test_a_range_that_is_no_range_is_not_used(amax: str) -> None:
    outcome = quantize_outputs.apply(recorded(TO_ADD, "c", amax))
    assert outcome.changed == 0
    assert len(outcome.left) == 1


def test_an_output_without_a_range_is_left_with_the_reason() -> None:
    model = graph(TO_ADD)
    before = operators(model)
    outcome = quantize_outputs.apply(model)
    assert outcome.changed == 0
    assert [refusal.reason for refusal in outcome.left] == [
        "no range of its output is recorded: it will run in float"
    ]
    assert operators(model) == before


def test_outputs_that_are_quantised_already_are_no_match() -> None:
    body = CONV + "c = Conv(d, v) r = QuantizeLinear(c, t, z) y = DequantizeLinear(r, t, z)"
    outcome = quantize_outputs.apply(graph(body))
    assert (outcome.changed, outcome.left) == (0, ())
