import numpy as np
import pytest

from tresnet_deploy.passes import integer_means

from .conftest import answered, bytes_to_floats, noise, operators

MEAN = "y = ReduceMean<keepdims=1>(d, axes)"


@pytest.mark.parametrize("axes", [(2, 3), (-1, -2)])
@pytest.mark.parametrize("z", [0, 128])
def test_a_mean_of_integers_is_the_mean_of_their_values(axes: tuple[int, int], z: int) -> None:
    model = bytes_to_floats(
        "N,3,8,8", MEAN, "float[N,3,1,1] y", axes=np.array(axes, np.int64), z=np.uint8(z)
    )
    images = noise(2, 3, 8, 8).astype(np.float32)
    before = answered(model, images)
    assert integer_means.apply(model).changed == 1
    assert "ReduceMean" not in operators(model)
    np.testing.assert_allclose(answered(model, images), before, rtol=1e-5, atol=1e-7)


def test_a_mean_of_the_largest_bytes_does_not_overflow() -> None:
    side = 448
    model = bytes_to_floats(
        f"N,1,{side},{side}", MEAN, "float[N,1,1,1] y", axes=np.array([2, 3]), z=np.uint8(0)
    )
    integer_means.apply(model)
    bright = np.full((1, 1, side, side), 1e6, np.float32)
    np.testing.assert_allclose(answered(model, bright), 255 * 0.05, rtol=1e-6)


def test_a_mean_of_images_of_any_size_is_left_with_the_reason() -> None:
    model = bytes_to_floats("N,3,H,W", MEAN, "float[N,3,1,1] y", axes=np.array([2, 3]))
    before = operators(model)
    outcome = integer_means.apply(model)
    assert [refusal.reason for refusal in outcome.left] == ["its size is not known"]
    assert operators(model) == before


@pytest.mark.parametrize(
    ("body", "axes"),
    [
        (MEAN, (1, 2)),
        (MEAN, (3,)),
        (MEAN.replace("keepdims=1", "keepdims=0"), (2, 3)),
        (MEAN.replace("(d,", "(x,"), (2, 3)),
    ],
    ids=["other axes", "one axis", "no dimensions kept", "of floats"],
)
def test_other_means_are_no_match(body: str, axes: tuple[int, ...]) -> None:
    model = bytes_to_floats("N,3,8,8", body, "float y", axes=np.array(axes, np.int64))
    outcome = integer_means.apply(model)
    assert (outcome.changed, outcome.left) == (0, ())
