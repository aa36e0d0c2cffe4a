import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import fold_batch_norm

from .conftest import evaluated, noise, operators, parsed

STATISTICS = {
    "gamma": noise(4, seed=1),
    "beta": noise(4, seed=2),
    "mean": noise(4, seed=3),
    "var": noise(4, seed=4) ** 2,
}
WEIGHT = noise(4, 3, 3, 3, seed=5)
BIAS = noise(4, seed=6)


def graph(body: str, **weights: object) -> ir.Model:
    return parsed(
        f"g (double[N,3,5,5] x) => (double[N,4,5,5] y) {{ {body} }}", **STATISTICS, **weights
    )


NORM = "y = BatchNormalization <epsilon=0.01> (c, gamma, beta, mean, var)"


@pytest.mark.parametrize(
    "conv", ["Conv <pads=[1,1,1,1]> (x, w)", "Conv <pads=[1,1,1,1]> (x, w, b)"]
)
def test_a_norm_becomes_part_of_its_convolution(conv: str) -> None:
    model = graph(f"c = {conv} {NORM}", w=WEIGHT, b=BIAS)
    x = noise(2, 3, 5, 5)
    before = evaluated(model, x)
    assert fold_batch_norm.apply(model).changed == 1
    assert operators(model) == ["Conv"]
    np.testing.assert_allclose(evaluated(model, x), before, atol=1e-12)


def test_a_weight_that_two_convolutions_share_is_changed_for_one_only() -> None:
    body = f"c = Conv <pads=[1,1,1,1]> (x, w) {NORM.replace('y =', 'n =')} "
    model = graph(body + "d = Conv <pads=[1,1,1,1]> (x, w) y = Add(n, d)", w=WEIGHT)
    x = noise(2, 3, 5, 5)
    before = evaluated(model, x)
    assert fold_batch_norm.apply(model).changed == 1
    np.testing.assert_allclose(evaluated(model, x), before, atol=1e-12)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"r = Conv <pads=[1,1,1,1]> (x, w) c = Relu(r) {NORM}", "no convolution comes before it"),
        (
            "c = Conv <pads=[1,1,1,1]> (x, w) r = Relu(c) "
            "n = BatchNormalization (c, gamma, beta, mean, var) y = Add(n, r)",
            "has other readers",
        ),
        (f"v = Abs(w) c = Conv <pads=[1,1,1,1]> (x, v) {NORM}", "are computed"),
        (f"v = Abs(b) c = Conv <pads=[1,1,1,1]> (x, w, v) {NORM}", "bias of its convolution"),
    ],
)
def test_other_norms_are_left_with_the_reason(body: str, reason: str) -> None:
    model = graph(body, w=WEIGHT, b=BIAS)
    before = operators(model)
    outcome = fold_batch_norm.apply(model)
    assert operators(model) == before
    assert outcome.changed == 0
    assert [reason in refusal.reason for refusal in outcome.left] == [True]


def test_a_norm_in_training_mode_is_left() -> None:
    training = "y, m, v = BatchNormalization <training_mode=1> (c, gamma, beta, mean, var)"
    model = graph(f"c = Conv <pads=[1,1,1,1]> (x, w) {training}", w=WEIGHT)
    (refusal,) = fold_batch_norm.apply(model).left
    assert "training mode" in refusal.reason
