import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import integer_blur

from .conftest import STEP, answered, bytes_to_floats, noise, operators

BINOMIAL = np.tile(np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16, (3, 1, 1, 1))
PAD = 'p = Pad<mode="reflect">(d, ends) '
BLUR = PAD + "c = Conv<group=3, strides=[2, 2]>(p, k) "
AGAIN = "f = QuantizeLinear(c, t, z) y = DequantizeLinear(f, t, z)"


def graph(body: str, kernel: npt.NDArray[np.float32] = BINOMIAL) -> ir.Model:
    ends = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    return bytes_to_floats(
        "N,3,8,8", body, "float[N,3,4,4] y", k=kernel, ends=ends, t=np.float32(0.04)
    )


def images() -> npt.NDArray[np.float32]:
    return noise(2, 3, 8, 8).astype(np.float32)


def test_a_blur_whose_result_is_rounded_answers_the_same() -> None:
    model = graph(BLUR + AGAIN)
    before = answered(model, images())
    assert integer_blur.apply(model).changed == 1
    np.testing.assert_allclose(answered(model, images()), before, atol=1e-5)
    assert operators(model).count("QuantizeLinear") == 2


def test_a_result_in_float_is_rounded_to_the_steps_of_the_input() -> None:
    model = graph(BLUR + "y = Sigmoid(c)")
    steps = graph(BLUR + "y = Identity(c)")
    before = answered(steps, images())
    assert integer_blur.apply(model).changed == integer_blur.apply(steps).changed == 1
    after = answered(steps, images())
    assert 0 < np.abs(after - before).max() <= STEP / 2 * 1.001
    np.testing.assert_allclose(answered(model, images()), 1 / (1 + np.exp(-after)), rtol=1e-5)


def test_padding_and_result_say_that_they_are_bytes() -> None:
    model = graph(BLUR + "y = Identity(c)")
    integer_blur.apply(model)
    made = {node.op_type: node.outputs[0].dtype for node in model.graph}
    assert made["Pad"] == made["QuantizeLinear"] == ir.DataType.UINT8


@pytest.mark.parametrize(
    ("body", "kernel"),
    [
        (BLUR + AGAIN, BINOMIAL * 2),
        (BLUR + AGAIN, np.full((3, 1, 3, 3), 1 / 9, np.float32)),
        (BLUR + AGAIN, BINOMIAL * [[[-1, -1, -1], [3, 3, 3], [-1, -1, -1]]]),
        (BLUR.replace("reflect", "constant") + AGAIN, BINOMIAL),
    ],
    ids=["sum 2", "ninths", "negative", "zeros around"],
)
def test_others_are_left_with_the_reason(body: str, kernel: npt.NDArray[np.float32]) -> None:
    model = graph(body, kernel.astype(np.float32))
    before = operators(model)
    outcome = integer_blur.apply(model)
    assert outcome.changed == 0
    assert [refusal.reason for refusal in outcome.left] == ["it is no mean of sixteenths"]
    assert operators(model) == before


def test_a_blur_of_floats_is_no_match() -> None:
    outcome = integer_blur.apply(graph((BLUR + AGAIN).replace("(d, ends)", "(x, ends)")))
    assert (outcome.changed, outcome.left) == (0, ())
