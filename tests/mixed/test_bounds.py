"""Bounds: what meets them, and images that cannot show it."""

from dataclasses import replace
from typing import Literal

import pytest

from tresnet_deploy.contracts import Labels
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, demo_images, sample_photos
from tresnet_deploy.int8_results import Judged
from tresnet_deploy.mixed.bounds import Bound, check

TEN = Labels(classes=10)


@pytest.fixture(scope="module")
def labelled() -> ImageSet:
    return demo_images("test")


@pytest.mark.parametrize("kind", ["max-drop", "min-agreement"])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_bound_of_nothing_or_everything_is_refused(
    kind: Literal["max-drop", "min-agreement"], share: float
) -> None:
    with pytest.raises(UsageError, match=f"--{kind} {100 * share:.0f} % is no bound"):
        Bound(kind=kind, share=share)


def test_a_bound_is_taken_literally() -> None:
    drop = Bound(kind="max-drop", share=0.005)
    assert drop.met(Judged(agreement=0.5, snr_db=1.0, drop=0.005))
    assert not drop.met(Judged(agreement=1.0, snr_db=1.0, drop=0.0051))
    agreement = Bound(kind="min-agreement", share=0.99)
    assert agreement.met(Judged(agreement=0.99, snr_db=1.0))
    assert not agreement.met(Judged(agreement=0.989, snr_db=1.0, drop=0.0))


def test_too_few_images_cannot_show_a_bound(labelled: ImageSet) -> None:
    few = replace(labelled, files=labelled.files[:99])
    with pytest.raises(UsageError, match=r"99 images held out cannot show .*100 or more"):
        check(Bound(kind="min-agreement", share=0.99), few, TEN)
    with pytest.raises(UsageError, match=r"one image is 1\.01 %, so 200 or more"):
        check(Bound(kind="max-drop", share=0.005), few, TEN)
    check(Bound(kind="max-drop", share=0.02), few, TEN)
    check(
        Bound(kind="min-agreement", share=0.99),
        replace(labelled, files=labelled.files[:100]),
        TEN,
    )


def test_a_drop_without_labels_names_the_bound_that_needs_none() -> None:
    with pytest.raises(UsageError, match="35 of 35 have none") as caught:
        check(Bound(kind="max-drop", share=0.05), sample_photos(), TEN)
    assert caught.value.hints[0] == "--min-agreement 99%, which needs no labels"
    check(Bound(kind="min-agreement", share=0.95), sample_photos(), TEN)


def test_images_of_several_labels_have_no_top_1(labelled: ImageSet) -> None:
    with pytest.raises(UsageError, match="images may show several classes"):
        check(Bound(kind="max-drop", share=0.05), labelled, Labels(classes=10, multi_label=True))
