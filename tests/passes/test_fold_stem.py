import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import fold_stem

from .conftest import evaluated, noise, operators, parsed

WEIGHT = noise(5, 12, 3, 3)
BIAS = noise(5, seed=1)


def graph(body: str) -> ir.Model:
    return parsed(f"g (double[N,3,H,W] x) => (double[N,K,A,B] y) {{ {body} }}", w=WEIGHT, b=BIAS)


def test_space_to_depth_and_convolution_become_one_convolution() -> None:
    model = graph("s = SpaceToDepth <blocksize=2> (x) y = Conv <pads=[1,1,1,1]> (s, w, b)")
    x = noise(2, 3, 8, 12)
    before = evaluated(model, x)
    assert fold_stem.apply(model).changed == 1
    (conv,) = model.graph
    assert tuple(conv.attributes["kernel_shape"].as_ints()) == (6, 6)
    np.testing.assert_allclose(evaluated(model, x), before, atol=1e-12)


def test_a_call_of_our_operator_is_merged_as_well() -> None:
    model = graph("s = tresnet.SpaceToDepth <blocksize=2> (x) y = Conv <pads=[1,1,1,1]> (s, w)")
    assert fold_stem.apply(model).changed == 1
    assert operators(model) == ["Conv"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = SpaceToDepth <blocksize=2> (x)", "not a convolution"),
        ("s = SpaceToDepth <blocksize=2> (x) c = Conv (s, w) y = Sum(c, s)", "not a convolution"),
        ("s = SpaceToDepth <blocksize=2> (x) y = Conv <strides=[2,2]> (s, w)", "strided"),
        ("s = SpaceToDepth <blocksize=2> (x) y = Conv <dilations=[2,2]> (s, w)", "dilated"),
        ('s = SpaceToDepth <blocksize=2> (x) y = Conv <auto_pad="SAME_UPPER"> (s, w)', "automatic"),
        ("s = SpaceToDepth <blocksize=2> (x) v = Abs(w) y = Conv (s, v)", "computed"),
    ],
)
def test_other_readers_are_left_with_the_reason(body: str, reason: str) -> None:
    model = graph(body)
    before = operators(model)
    (refusal,) = fold_stem.apply(model).left
    assert reason in refusal.reason
    assert operators(model) == before
