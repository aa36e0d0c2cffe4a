import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import positive_activations

from .conftest import answered, noise, operators, parsed

STEP = np.float32(0.05)
AGAIN = " q = QuantizeLinear(a, s, z) y = DequantizeLinear(q, s, z)"
BLUR = np.full((3, 1, 3, 3), 1 / 16, np.float32)
NEVER_NEGATIVE = {
    "ReLU": "a = Relu(x)",
    "leaky ReLU": "a = LeakyRelu<alpha=0.001>(x)",
    "sum": "r = Relu(x) a = Add(r, r)",
    "gate": "r = Relu(x) g = Sigmoid(x) a = Mul(r, g)",
    "average pool": "r = Relu(x) a = AveragePool<kernel_shape=[2,2]>(r)",
    "largest": "r = Relu(x) a = MaxPool<kernel_shape=[2,2]>(r)",
    "mean": "r = Relu(x) a = ReduceMean(r)",
    "blur": 'r = Relu(x) p = Pad<mode="reflect">(r, pads) a = Conv<group=3>(p, blur)',
    "already rounded": "r = Relu(x) i = QuantizeLinear(r, t, z) a = DequantizeLinear(i, t, z)",
    "bytes": "i = QuantizeLinear(x, t, u) a = DequantizeLinear(i, t, u)",
}


def graph(body: str, output: str = "float[N,C,H,W] y", **weights: npt.ArrayLike) -> ir.Model:
    constants = {"s": STEP, "t": 2 * STEP, "z": np.int8(0), "u": np.uint8(0), "blur": BLUR}
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    text = f"g (float[N,3,8,8] x) => ({output}) {{ {body} }}"
    model = parsed(text, **{**constants, "pads": pads, **weights})
    model.opset_imports[""] = 19  # the first of which ONNX's reference evaluator can dequantise
    return model


def images(deviation: float = 1.0) -> npt.NDArray[np.float32]:
    return (deviation * noise(2, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("body", NEVER_NEGATIVE.values(), ids=NEVER_NEGATIVE)
def test_what_is_never_negative_comes_back_the_same_from_bytes_that_begin_at_zero(
    body: str,
) -> None:
    model = graph(body + AGAIN)
    before = answered(model, images())
    assert positive_activations.apply(model).changed >= 1
    np.testing.assert_array_equal(answered(model, images()), before)
    last = [node for node in model.graph if node.op_type == "QuantizeLinear"][-1]
    assert last.outputs[0].dtype == ir.DataType.UINT8


def test_values_beyond_127_steps_are_kept() -> None:
    model = graph(NEVER_NEGATIVE["ReLU"] + AGAIN)
    saturated = answered(model, images(deviation=5)).max()
    positive_activations.apply(model)
    kept = answered(model, images(deviation=5)).max()
    assert saturated == STEP * 127
    assert saturated < kept <= STEP * 255


@pytest.mark.parametrize(
    "body",
    [
        "a = Identity(x)",
        "a = LeakyRelu<alpha=0.01>(x)",
        "r = Relu(x) a = Add(r, x)",
        "r = Relu(x) a = Mul(r, x)",
        "r = Relu(x) p = Pad(r, pads, low) a = Conv<group=3>(p, blur)",
        "r = Relu(x) a = Conv<group=3>(r, unlike)",
        "r = Relu(x) a = Conv<group=3>(r, blur, bias)",
    ],
    ids=[
        "input",
        "a slope that shows",
        "sum",
        "product",
        "padding by another constant",
        "a negative weight",
        "a negative bias",
    ],
)
def test_what_may_be_negative_stays_int8(body: str) -> None:
    constants = {"low": np.float32(-1), "unlike": BLUR - 0.1, "bias": -np.ones(3, np.float32)}
    model = graph(body + AGAIN, **constants)
    outcome = positive_activations.apply(model)
    assert (outcome.changed, outcome.left) == (0, ())
    assert model.graph[-2].outputs[0].dtype == ir.DataType.INT8


def test_other_pairs_that_share_the_zero_point_stay_int8() -> None:
    body = "r = Relu(x) i = QuantizeLinear(r, t, z) d = DequantizeLinear(i, t, z) a = Sub(d, x)"
    model = graph(body + AGAIN)
    before = answered(model, images())
    assert positive_activations.apply(model).changed == 1
    np.testing.assert_array_equal(answered(model, images()), before)
    assert model.graph.initializers["z"].dtype == ir.DataType.INT8


@pytest.mark.parametrize(
    ("again", "output", "zero", "reason"),
    [
        (AGAIN, "float[N,3,8,8] y", 3, "its zero point is not 0"),
        (AGAIN, "float[N,3,8,8] y, int8[N,3,8,8] q", 0, "something else"),
        (AGAIN.replace("(q, s, z)", "(q, s)"), "float[N,3,8,8] y", 0, "no constant zero point"),
    ],
)
def test_other_integers_are_left_with_the_reason(
    again: str, output: str, zero: int, reason: str
) -> None:
    model = graph("a = Relu(x)" + again, output, z=np.int8(zero))
    before = operators(model)
    (refusal,) = positive_activations.apply(model).left
    assert reason in refusal.reason
    assert operators(model) == before
