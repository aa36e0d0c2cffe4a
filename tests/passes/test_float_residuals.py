import numpy as np
import onnx_ir as ir

from tresnet_deploy.passes import float_residuals

from .conftest import STEP, answered, bytes_to_floats, noise, operators

PAIR = "b = QuantizeLinear({0}, s, z) e = DequantizeLinear(b, s, z)"
SUM = "a = Add(d, x) r = Relu(a) " + PAIR.format("r") + " c = Sigmoid(e) y = Add(c, e)"


def graph(body: str) -> ir.Model:
    return bytes_to_floats("N", body, "float[N] y")


def test_an_addition_reads_the_sum_of_another_one_before_it_is_rounded() -> None:
    model = graph(SUM)
    x = noise(100).astype(np.float32)
    before = answered(model, x)
    assert float_residuals.apply(model).changed == 1
    after = answered(model, x)
    assert 0 < np.abs(after - before).max() <= STEP / 2 * 1.001


def test_other_readers_still_read_the_rounded_sum() -> None:
    model = graph(SUM)
    float_residuals.apply(model)
    (sigmoid,) = (node for node in model.graph if node.op_type == "Sigmoid")
    value = sigmoid.inputs[0]
    assert value is not None
    producer = value.producer()
    assert producer is not None
    assert producer.op_type == "DequantizeLinear"


def test_a_sum_without_activation_is_one_as_well() -> None:
    body = "a = Add(d, x) " + PAIR.format("a") + " y = Add(x, e)"
    assert float_residuals.apply(graph(body)).changed == 1


def test_what_no_addition_made_stays_rounded() -> None:
    model = graph("r = Relu(x) " + PAIR.format("r") + " y = Add(d, e)")
    before = operators(model)
    assert float_residuals.apply(model).changed == 0
    assert operators(model) == before
