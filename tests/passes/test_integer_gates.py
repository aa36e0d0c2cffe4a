import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import integer_gates

from .conftest import answered, bytes_to_floats, noise, operators

AGAIN = " f = QuantizeLinear(p, t, z) y = DequantizeLinear(f, t, z)"
GATE = "g = Sigmoid(x) "


def graph(body: str, output: str = "float[N,3] y") -> ir.Model:
    return bytes_to_floats("N,3", body, output, t=np.float32(0.01))


@pytest.mark.parametrize("product", ["p = Mul(d, g)", "p = Mul(g, d)"])
def test_a_gate_moves_by_half_of_a_255th_at_most(product: str) -> None:
    model = graph(GATE + product + AGAIN)
    images = noise(50, 3).astype(np.float32) / 2
    before = answered(model, images)
    assert integer_gates.apply(model).changed == 1
    after = answered(model, images)
    step = 0.01  # one more or one less of the rounded product
    assert 0 < np.abs(after - before).max() <= np.abs(images).max() / 510 + step * 1.001


def test_a_product_of_bytes_is_what_onnx_runtime_can_fuse() -> None:
    model = graph(GATE + "p = Mul(d, g)" + AGAIN)
    integer_gates.apply(model)
    (product,) = (node for node in model.graph if node.op_type == "Mul")
    makers = [value.producer() for value in product.inputs if value is not None]
    assert [maker.op_type for maker in makers if maker] == ["DequantizeLinear"] * 2


@pytest.mark.parametrize(
    "body",
    [
        GATE + "y = Mul(d, g)",
        GATE + "p = Mul(x, g)" + AGAIN,
        "p = Mul(d, x)" + AGAIN,
        GATE + "p = Mul(d, g) h = Relu(p)" + AGAIN,
    ],
    ids=["the product goes on in float", "a product of floats", "no gate", "a second reader"],
)
def test_others_are_left_as_they_are(body: str) -> None:
    model = graph(body, "float[N,3] y, float[N,3] h" if " h " in body else "float[N,3] y")
    before = operators(model)
    assert integer_gates.apply(model).changed == 0
    assert operators(model) == before
