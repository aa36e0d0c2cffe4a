"""Images to judge on: never those that were calibrated on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import sample, sample_photos, scan
from tresnet_deploy.images.held_out import held_out


def draw(folder: Path, *numbers: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = np.full((24, 24, 3), number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_what_calibration_left_of_its_folder_is_judged_on(
    demo_graph: Artifact, tmp_path: Path
) -> None:
    pool = scan(draw(tmp_path, *range(10)))
    drawn = sample(pool, 6, seed=0)
    found = held_out(demo_graph, folder=None, pool=pool, calibrated=drawn, count=100, seed=0)
    assert len(found) == 4
    assert not {file.path for file in found.files} & {file.path for file in drawn.files}
    assert found.notes == ("6 images not judged on: calibrated on",)


def test_a_copy_under_another_name_is_not_judged_on(demo_graph: Artifact, tmp_path: Path) -> None:
    calibrated = scan(draw(tmp_path / "mine", 1, 2))
    other = draw(tmp_path / "other", 3, 4)
    shutil.copy(tmp_path / "mine" / "1.png", other / "renamed.png")
    found = held_out(
        demo_graph, folder=other, pool=calibrated, calibrated=calibrated, count=10, seed=0
    )
    assert sorted(file.path.name for file in found.files) == ["3.png", "4.png"]


def test_no_image_left_is_an_error_with_ways_out(demo_graph: Artifact) -> None:
    photos = sample_photos()
    other = replace(demo_graph, source=replace(demo_graph.source, sha256="0" * 64))
    with pytest.raises(UsageError, match="no image is left to judge on: all 35") as caught:
        held_out(other, folder=None, pool=photos, calibrated=photos, count=10, seed=0)
    assert caught.value.hints == (
        "--held-out DIR, for a folder of other images",
        "--calibration-samples 17, which leaves the others",
    )


def test_the_demo_network_is_judged_on_its_test_images(demo_graph: Artifact) -> None:
    found = held_out(demo_graph, folder=None, pool=None, calibrated=None, count=20, seed=0)
    assert len(found) == 20
    assert found.source.startswith("Fashion-MNIST test")
