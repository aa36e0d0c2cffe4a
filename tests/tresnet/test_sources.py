"""What is looked up for published files: input rules and slopes."""

import pytest

from tresnet.architecture import Architecture, Head, InputRule, Slopes
from tresnet.sources import _PUBLISHED, guess_input_rule, guess_slopes
from tresnet.variants import VARIANTS, architecture

HEADS = {
    "linear": Head.linear,
    "bottleneck": Head.with_bottleneck,
    "ml_decoder": Head.ml_decoder,
}


@pytest.mark.parametrize("known", _PUBLISHED, ids=str)
def test_every_published_file_is_of_a_known_variant(known: tuple[str, str, int]) -> None:
    name, head, classes = known
    assert name in {row.name for row in VARIANTS}
    rule, reason = guess_input_rule(architecture(name, head=HEADS[head](classes)))
    assert rule is _PUBLISHED[known][0]
    assert reason.startswith("as published for ")
    assert rule.mean == (0.0, 0.0, 0.0)
    assert rule.std == (1.0, 1.0, 1.0)


def test_an_imagenet_network_is_cropped_and_the_reason_warns_of_448_px() -> None:
    rule, reason = guess_input_rule(architecture("l"))
    assert rule == InputRule(image_px=224, resize="crop", crop_pct=0.875)
    assert "448 px weights look alike" in reason


def test_an_unknown_multi_label_network_is_squished() -> None:
    rule, _ = guess_input_rule(architecture("m", head="ml_decoder", classes=33))
    assert rule == InputRule(image_px=224, resize="squish")


def test_only_the_published_cars_network_has_other_slopes() -> None:
    cars = architecture("v2_l", classes=196)
    slopes, reason = guess_slopes(cars, "miil")
    assert slopes == Slopes(stem=1e-6, block=1e-6)
    assert "Stanford Cars" in reason
    assert guess_slopes(cars, "timm")[0] == Slopes()
    assert guess_slopes(architecture("v2_l", classes=197), "miil")[0] == Slopes()
    assert guess_slopes(architecture("v2_l", classes=196, head="ml_decoder"), "miil")[0] == Slopes()


def test_frelu_networks_need_no_slopes() -> None:
    frelu = Architecture(width=8, depths=(1, 1, 1, 1), family="v2", activation="frelu")
    assert guess_slopes(frelu, "miil")[1] == "FReLU networks have no leaky ReLU"
