"""Resize, crop, scale and lay out: against torchvision's rules, written down by hand."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from tresnet.architecture import InputRule
from tresnet_deploy.contracts import Preprocess
from tresnet_deploy.errors import ImageError, UsageError
from tresnet_deploy.preprocess import apply, digest, from_rule

SQUISH = Preprocess(height_px=4, width_px=8, resize="squish")
CROP_224 = InputRule(image_px=224, resize="crop", crop_pct=0.875)


def noise(height: int, width: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def test_without_mean_and_std_values_are_plain_zero_to_one_in_channel_first_order() -> None:
    image = Image.new("RGB", (8, 4), (255, 51, 0))
    array = apply(image, SQUISH)
    assert array.shape == (3, 4, 8)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_allclose(array[:, 0, 0], [1, 0.2, 0], rtol=1e-7)


def test_mean_and_std_are_applied_after_the_division() -> None:
    rule = dataclasses.replace(SQUISH, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    array = apply(Image.new("RGB", (8, 4), (255, 0, 102)), rule)
    np.testing.assert_allclose(array[:, 0, 0], [1, -1, 0.2], rtol=1e-6)


def test_a_graph_that_normalises_gets_zero_to_one() -> None:
    rule = dataclasses.replace(SQUISH, mean=(0.5,) * 3, std=(0.5,) * 3, normalize_in_graph=True)
    np.testing.assert_allclose(
        apply(Image.new("RGB", (8, 4), (255, 51, 0)), rule)[:, 0, 0], [1, 0.2, 0]
    )


def test_a_uint8_graph_gets_the_pixels_as_they_are() -> None:
    array = apply(noise(4, 8), dataclasses.replace(SQUISH, layout="uint8-nhwc", mean=(0.5,) * 3))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, np.asarray(noise(4, 8)))


@pytest.mark.parametrize("layout", ["float32-nchw", "uint8-nhwc"])
def test_bgr_swaps_the_channels(layout: str) -> None:
    rgb = apply(noise(4, 8), dataclasses.replace(SQUISH, layout=layout))
    bgr = apply(noise(4, 8), dataclasses.replace(SQUISH, layout=layout, color_order="bgr"))
    np.testing.assert_array_equal(bgr, np.flip(rgb, axis=0 if layout == "float32-nchw" else 2))


@pytest.mark.parametrize(
    ("height", "width", "resized"),
    [
        (300, 400, (341, 256)),  # 256 * 400 / 300 = 341.3, truncated
        (400, 300, (256, 341)),
        (256, 256, (256, 256)),
        (100, 80, (256, 320)),
        (10, 400, (10240, 256)),
    ],
)
def test_crop_takes_the_centre_after_the_short_side_was_resized(
    height: int, width: int, resized: tuple[int, int]
) -> None:
    rule = from_rule(CROP_224, layout="uint8-nhwc")
    left, top = round((resized[0] - 224) / 2), round((resized[1] - 224) / 2)
    expected = (
        noise(height, width)
        .resize(resized, Image.Resampling.BILINEAR)
        .crop((left, top, left + 224, top + 224))
    )
    np.testing.assert_array_equal(apply(noise(height, width), rule), np.asarray(expected))


def test_an_image_too_narrow_to_be_resized_is_refused() -> None:
    with pytest.raises(ImageError, match=r"1400 x 1 px is too narrow.*91,750,400 pixels"):
        apply(Image.new("RGB", (1400, 1)), from_rule(CROP_224))


def test_368_px_are_cropped_from_420_as_miils_code_does() -> None:
    rule = from_rule(InputRule(image_px=368, resize="crop", crop_pct=0.875), layout="uint8-nhwc")
    expected = noise(420, 420).crop((26, 26, 394, 394))
    np.testing.assert_array_equal(apply(noise(420, 420), rule), np.asarray(expected))


def test_squish_ignores_the_aspect_ratio() -> None:
    rule = from_rule(InputRule(image_px=64, resize="squish"), layout="uint8-nhwc")
    expected = noise(100, 30).resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(apply(noise(100, 30), rule), np.asarray(expected))


def test_a_wide_target_is_filled_without_distortion() -> None:
    rule = from_rule(CROP_224, size=(112, 448), layout="uint8-nhwc")
    expected = noise(300, 300).resize((512, 512), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(
        apply(noise(300, 300), rule), np.asarray(expected.crop((32, 200, 480, 312)))
    )


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_the_interpolation_is_the_rules(interpolation: str) -> None:
    rule = InputRule(image_px=64, resize="squish", interpolation=interpolation)
    expected = noise(50, 50).resize((64, 64), Image.Resampling[interpolation.upper()])
    array = apply(noise(50, 50), from_rule(rule, layout="uint8-nhwc"))
    np.testing.assert_array_equal(array, np.asarray(expected))


def test_a_rule_is_taken_over_field_by_field() -> None:
    rule = InputRule(
        image_px=448, resize="squish", mean=(0.1,) * 3, std=(0.2,) * 3, interpolation="bicubic"
    )
    assert from_rule(rule) == Preprocess(
        height_px=448,
        width_px=448,
        resize="squish",
        crop_pct=1.0,
        interpolation="bicubic",
        mean=(0.1,) * 3,
        std=(0.2,) * 3,
    )


@pytest.mark.parametrize(
    ("size", "fitting"), [((230, 224), 232), ((224, 16), 20), ((0, 224), 20), ((-4, 64), 20)]
)
def test_a_size_that_tresnet_cannot_take_is_refused_with_the_nearest_that_it_can(
    size: tuple[int, int], fitting: int
) -> None:
    with pytest.raises(UsageError, match="multiples of 4 from 20 px up") as caught:
        from_rule(CROP_224, size=size)
    assert caught.value.hints == (f"--image-size {fitting}",)


def test_an_unknown_interpolation_is_refused_with_the_known_ones() -> None:
    rule = dataclasses.replace(CROP_224, interpolation="hamming")
    with pytest.raises(UsageError, match=r"'hamming' is not known.*nearest, bilinear, bicubic"):
        from_rule(rule)


@pytest.mark.parametrize("crop_pct", [0.0, 1.1, float("nan")])
def test_a_crop_share_outside_zero_to_one_is_refused(crop_pct: float) -> None:
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        from_rule(dataclasses.replace(CROP_224, crop_pct=crop_pct))


def test_the_digest_changes_with_every_field() -> None:
    base = Preprocess()
    others = {
        "height_px": 64,
        "width_px": 64,
        "resize": "squish",
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": (0.1, 0.0, 0.0),
        "std": (2.0, 1.0, 1.0),
        "color_order": "bgr",
        "layout": "uint8-nhwc",
        "normalize_in_graph": True,
    }
    assert set(others) == {field.name for field in dataclasses.fields(base)}
    changed = {digest(dataclasses.replace(base, **{name: v})) for name, v in others.items()}
    assert len(changed | {digest(base)}) == len(others) + 1
    assert digest(base) == digest(Preprocess())
