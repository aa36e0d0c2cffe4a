"""The shipped checkpoint: its layout is MIIL's, and it is as accurate as its README says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import tresnet
from tresnet.layers import ActivatedNorm
from tresnet_deploy.images import batches, demo_checkpoint, demo_images
from tresnet_deploy.images.packaged import DEMO_CLASSES
from tresnet_deploy.preprocess import from_rule

TOLERANCE = 0.002  # two images of the thousand: other processors round differently


def top1(checkpoint: tresnet.Checkpoint) -> float:
    """The share of the shipped test images that the network gets right, read as a user would."""
    right = total = 0
    for batch in batches(demo_images("test"), from_rule(checkpoint.input_rule), 100):
        with torch.inference_mode():
            logits = checkpoint.model(torch.from_numpy(batch.array)).numpy()
        labels = np.array([file.label for file in batch.files])
        right += int((logits.argmax(axis=1) == labels).sum())
        total += len(labels)
    return right / total


def recorded() -> dict[str, float]:
    """The figures of the README's table, as shares."""
    readme = (demo_checkpoint().parent / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) % \|$", readme, re.MULTILINE)
    return {images: float(percent) / 100 for images, percent in rows}


def metadata() -> dict[str, str]:
    with safe_open(demo_checkpoint(), framework="np") as file:
        return dict(file.metadata())


@pytest.fixture(scope="module")
def checkpoint() -> tresnet.Checkpoint:
    return tresnet.load(demo_checkpoint())


def test_it_is_in_miils_layout_with_raw_gammas_of_both_signs(
    checkpoint: tresnet.Checkpoint,
) -> None:
    assert checkpoint.layout == "miil"
    assert checkpoint.gammas == "absolute"
    gammas = torch.cat(
        [m.weight for m in checkpoint.model.modules() if isinstance(m, ActivatedNorm)]
    )
    assert 0.2 < float((gammas < 0).float().mean()) < 0.8


def test_it_carries_its_classes_and_its_input(checkpoint: tresnet.Checkpoint) -> None:
    assert checkpoint.class_names == DEMO_CLASSES
    assert checkpoint.input_rule.image_px == 64
    assert checkpoint.input_rule.resize == "squish"


def test_it_is_as_accurate_on_the_shipped_images_as_its_readme_says(
    checkpoint: tresnet.Checkpoint,
) -> None:
    figure = recorded()["the 1,000 test images shipped here"]
    assert abs(top1(checkpoint) - figure) <= TOLERANCE


def test_an_intake_that_forgets_the_absolute_value_fails_for_all_to_see() -> None:
    assert top1(tresnet.load(demo_checkpoint(), gammas="plain")) < 0.5


def test_readme_and_metadata_agree_and_the_goal_is_met() -> None:
    figures = recorded()
    assert figures["all 10,000 test images"] >= 0.91
    assert figures["all 10,000 test images"] == pytest.approx(float(metadata()["test_top1"]))
    assert figures["5,000 validation images"] == pytest.approx(float(metadata()["validation_top1"]))


def test_the_metadata_names_the_command_and_the_seed() -> None:
    assert re.fullmatch(
        r"python examples/train\.py --data \S+ --output \S+ --test", metadata()["command"]
    )
    assert metadata()["seed"] == "0"
    assert json.loads(metadata()["tresnet.class_names"]) == list(DEMO_CLASSES)


def test_the_readme_gives_the_same_command() -> None:
    readme = (Path(demo_checkpoint()).parent / "README.md").read_text("utf-8")
    assert metadata()["command"] in readme
