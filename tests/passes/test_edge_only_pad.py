import numpy as np
import onnx_ir as ir
import pytest
from tresnet_deploy.plugins.blur_pool import binomial_filter

from tresnet_deploy.passes import edge_only_pad

from .conftest import evaluated, noise, operators, parsed

ALL_SIDES = np.array([0, 0, 1, 1, 0, 0, 1, 1])
BLUR = 'p = Pad <mode="reflect"> (x, pads) y = Conv <strides=[2,2], group=3> (p, f)'


def graph(body: str = BLUR, size: str = "8,12", pads: np.ndarray = ALL_SIDES) -> ir.Model:
    text = f"g (double[N,3,{size}] x) => (double[N,3,A,B] y) {{ {body} }}"
    return parsed(text, pads=pads, f=binomial_filter(3, np.float64))


def test_even_sizes_lose_the_rows_and_columns_that_nothing_reads() -> None:
    model = graph()
    x = noise(2, 3, 8, 12)
    before = evaluated(model, x)
    assert edge_only_pad.apply(model).changed == 1
    assert model.graph.initializers["pads"].const_value is not None
    assert sum(model.graph.initializers["pads"].const_value.numpy()) == 2
    np.testing.assert_array_equal(evaluated(model, x), before)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (graph(size="7,12"), "an odd size, 7x12"),
        (graph(size="H,W"), "not known in the file"),
        (graph(BLUR.replace("strides=[2,2]", "strides=[1,1]")), "not an unpadded 3x3"),
        (graph('p = Pad <mode="reflect"> (x, pads) y = Relu(p)'), "not a convolution"),
    ],
)
def test_what_reads_the_last_row_is_left_with_the_reason(model: ir.Model, reason: str) -> None:
    before = operators(model)
    outcome = edge_only_pad.apply(model)
    assert outcome.changed == 0
    assert [reason in refusal.reason for refusal in outcome.left] == [True]
    assert operators(model) == before


@pytest.mark.parametrize(
    "model",
    [graph(pads=np.array([0, 0, 2, 2, 0, 0, 2, 2])), graph(BLUR.replace("reflect", "constant"))],
)
def test_other_paddings_are_no_match(model: ir.Model) -> None:
    outcome = edge_only_pad.apply(model)
    assert (outcome.changed, outcome.left) == (0, ())
