import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import saturating_relus

from .conftest import answered, bytes_to_floats, noise, operators

CONV = "w = DequantizeLinear(k, s, none) c = Conv(d, w) "
ROUND = CONV + "b = QuantizeLinear(c, t, z) e = DequantizeLinear(b, t, z) "
AGAIN = "f = QuantizeLinear(a, t, zero) y = DequantizeLinear(f, t, zero)"
FLAT = "a = LeakyRelu<alpha=0.001>(e) "
RELU = "a = Relu(e) "


def graph(body: str, *, output_step: float = 0.3, output: str = "float[N,3,8,8] y") -> ir.Model:
    kernel = np.random.default_rng(0).integers(-127, 128, (3, 3, 1, 1), np.int8)
    return bytes_to_floats("N,3,8,8", body, output, k=kernel, t=np.float32(output_step))


def images() -> npt.NDArray[np.float32]:
    return noise(2, 3, 8, 8).astype(np.float32)


def zero_points(model: ir.Model) -> list[int]:
    found = []
    for node in model.graph:
        if node.op_type == "QuantizeLinear":
            value = node.inputs[2]
            assert value is not None
            assert value.const_value is not None
            found.append(int(value.const_value.numpy()))
    return found


@pytest.mark.parametrize("activation", [FLAT, RELU])
def test_a_flat_activation_between_two_roundings_becomes_where_the_integers_start(
    activation: str,
) -> None:
    model = graph(ROUND + activation + AGAIN)
    before = answered(model, images())
    assert (before == 0).any(), "the test needs negative activations"
    assert saturating_relus.apply(model).changed == 1
    np.testing.assert_array_equal(answered(model, images()), before)
    assert operators(model)[-3:] == ["Conv", "QuantizeLinear", "DequantizeLinear"]
    assert zero_points(model) == [128, 0]


def test_a_flat_activation_that_float_operators_read_moves_by_half_a_step_at_most() -> None:
    model = graph(ROUND + FLAT + "y = Mul(a, a)")
    before = answered(model, images())
    assert saturating_relus.apply(model).changed == 1
    after = answered(model, images())
    assert "LeakyRelu" not in operators(model)
    np.testing.assert_allclose(np.sqrt(after), np.sqrt(before), atol=0.15)


def test_values_beyond_127_steps_are_kept() -> None:
    model = graph(ROUND + FLAT + AGAIN, output_step=0.05)
    saturated = answered(model, images()).max()
    saturating_relus.apply(model)
    kept = answered(model, images()).max()
    assert saturated == np.float32(0.05) * 127
    assert saturated < kept <= np.float32(0.05) * 255


@pytest.mark.parametrize(
    ("body", "output"),
    [
        (ROUND + "a = LeakyRelu<alpha=0.01>(e) " + AGAIN, "float[N,3,8,8] y"),
        (ROUND + "a = LeakyRelu<alpha=-0.001>(e) " + AGAIN, "float[N,3,8,8] y"),
        (ROUND + FLAT + AGAIN, "float[N,3,8,8] y, float[N,3,8,8] e"),
        (ROUND + FLAT + AGAIN, "float[N,3,8,8] y, uint8[N,3,8,8] b"),
        (ROUND + FLAT, "float[N,3,8,8] a"),
        ("a = LeakyRelu<alpha=0.001>(d) " + AGAIN, "float[N,3,8,8] y"),
    ],
    ids=[
        "a slope that shows",
        "a slope that turns",
        "the value before is an output",
        "the integers before are an output",
        "the activation is an output",
        "no convolution before",
    ],
)
def test_others_are_left_as_they_are(body: str, output: str) -> None:
    model = graph(body, output=output)
    before = operators(model), zero_points(model)
    assert saturating_relus.apply(model).changed == 0
    assert (operators(model), zero_points(model)) == before
