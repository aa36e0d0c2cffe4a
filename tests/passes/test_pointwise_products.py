import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import pointwise_products

from .conftest import answered, bytes_to_floats, noise, operators

CONV = "w = DequantizeLinear<axis=0>(k, ws, wz) c = Conv(d, w, b) "
ROUND = "f = QuantizeLinear(c, t, z) e = DequantizeLinear(f, t, z) "
HALF = 0.05  # of the step of ROUND
SCALES = np.array([0.01, 0.02, 0.005, 0.03], np.float32)


def graph(
    body: str,
    output: str = "float[N,4,8,8] y",
    *,
    size: int = 1,
    scales: npt.NDArray[np.float32] = SCALES,
    zero: int = 0,
    **more: npt.ArrayLike,
) -> ir.Model:
    kernel = np.random.default_rng(0).integers(-127, 128, (4, 3, size, size), np.int8)
    return bytes_to_floats(
        "N,3,8,8",
        body,
        output,
        k=kernel,
        ws=scales,
        wz=np.full(scales.shape, zero, np.int8),
        b=np.arange(4, dtype=np.float32),
        t=np.float32(2 * HALF),
        one=np.float32(1),
        **more,
    )


def images() -> npt.NDArray[np.float32]:
    return noise(2, 3, 8, 8).astype(np.float32)


@pytest.mark.parametrize("scales", [SCALES, np.float32(0.01)], ids=["per channel", "one scale"])
@pytest.mark.parametrize("conv", [CONV, CONV.replace(", b)", ")")], ids=["bias", "no bias"])
@pytest.mark.parametrize("z", [0, 128, 131])
def test_a_product_answers_as_the_convolution(
    conv: str, scales: npt.NDArray[np.float32], z: int
) -> None:
    model = graph(
        conv + "y = Add(c, one)", scales=np.asarray(scales), z=np.uint8(z), c2=np.float32(1)
    )
    before = answered(model, images())
    assert pointwise_products.apply(model).changed == 1
    assert "Conv" not in operators(model)
    np.testing.assert_allclose(answered(model, images()), before, rtol=1e-5, atol=1e-5)


def test_a_result_is_not_rounded_before_the_addition_any_more() -> None:
    exact = answered(graph(CONV + "y = Add(c, one)"), images())
    model = graph(CONV + ROUND + "y = Add(e, one)")
    assert np.abs(answered(model, images()) - exact).max() > HALF / 2
    assert pointwise_products.apply(model).changed == 1
    assert operators(model).count("QuantizeLinear") == 1
    np.testing.assert_allclose(answered(model, images()), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        graph(CONV + "y = Relu(c)"),
        graph(CONV + "y1 = Relu(c) y = Add(c, y1)"),
        graph(CONV + ROUND + "y1 = Relu(e) y = Add(e, y1)"),
        graph(
            CONV + ROUND + "y = Add(e, one)", "float[N,4,8,8] y, uint8[N,4,8,8] f", b2=np.float32(1)
        ),
        graph(CONV + "y = Add(c, one)", "float[N,4,8,8] y, float[N,4,8,8] c"),
        graph(CONV + "y = Add(c, one)", "float[N,4,6,6] y", size=3),
        graph(CONV.replace("(d,", "<pads=[1,1,1,1]>(d,") + "y = Add(c, one)"),
        graph(CONV.replace("(d,", "<strides=[2,2]>(d,") + "y = Add(c, one)"),
        graph(CONV.replace("(d,", "(x,") + "y = Add(c, one)"),
        graph(CONV + "y = Add(c, one)", zero=3),
    ],
    ids=[
        "no addition",
        "two readers",
        "two readers of the rounded result",
        "the integers are an output",
        "the result is an output",
        "3x3",
        "padded",
        "strided",
        "in float",
        "weights with a zero point",
    ],
)
def test_others_are_left_as_they_are(model: ir.Model) -> None:
    assert pointwise_products.apply(model).changed == 0
    assert "Conv" in operators(model)
