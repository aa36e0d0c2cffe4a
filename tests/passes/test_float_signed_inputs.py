import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import float_signed_inputs

from .conftest import answered, noise, operators, parsed

STEP = np.float32(0.05)
WEIGHTS = np.random.default_rng(0).integers(-127, 128, (4, 3, 1, 1), np.int8)
ROUND = " q = QuantizeLinear(a, s, z) d = DequantizeLinear(q, s, z)"
CONV = " w = DequantizeLinear(k, s, z) y = Conv(d, w)"


def graph(body: str, output: str = "float[N,4,8,8] y") -> ir.Model:
    model = parsed(
        f"g (float[N,3,8,8] x) => ({output}) {{ {body} }}", s=STEP, z=np.int8(0), k=WEIGHTS
    )
    model.opset_imports[""] = 19
    return model


def images() -> npt.NDArray[np.float32]:
    return noise(2, 3, 8, 8).astype(np.float32)


def test_a_convolution_of_either_sign_reads_what_was_rounded() -> None:
    model = graph("a = Identity(x)" + ROUND + CONV)
    before = answered(model, images())
    assert float_signed_inputs.apply(model).changed == 1
    after = answered(model, images())
    assert operators(model) == ["Identity", "DequantizeLinear", "Conv"]
    assert np.abs(after - before).max() > 0
    exact = np.einsum("oc,nchw->nohw", STEP * WEIGHTS[:, :, 0, 0], images())
    np.testing.assert_allclose(after, exact, rtol=1e-5, atol=1e-5)


def test_others_that_read_the_same_integers_keep_them() -> None:
    body = "a = Identity(x)" + ROUND + CONV + " t = Add(d, d)"
    model = graph(body, "float[N,4,8,8] y, float[N,3,8,8] t")
    assert float_signed_inputs.apply(model).changed == 1
    assert operators(model).count("QuantizeLinear") == 1


@pytest.mark.parametrize(
    "activation",
    ["a = Relu(x)", "a = LeakyRelu<alpha=0.001>(x)", "a = LeakyRelu<alpha=0.01>(x)"],
)
def test_what_is_hardly_ever_negative_stays_in_integers(activation: str) -> None:
    model = graph(activation + ROUND + CONV)
    before = operators(model)
    assert float_signed_inputs.apply(model).changed == 0
    assert operators(model) == before


def test_a_steep_leaky_relu_counts_as_either_sign() -> None:
    model = graph("a = LeakyRelu<alpha=0.2>(x)" + ROUND + CONV)
    assert float_signed_inputs.apply(model).changed == 1
