"""What is in the box: photographs with credits, labelled test images, and a trained checkpoint."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tresnet_deploy import images
from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.contracts import (
    Artifact,
    Labels,
    Preprocess,
    Source,
)
from tresnet_deploy.errors import ImageError, UnavailableError
from tresnet_deploy.images import ImageSet, default_images, demo_checkpoint, demo_images
from tresnet_deploy.images.packaged import DEMO_CLASSES
from tresnet_deploy.preprocess import decode

DATA = Path(images.__file__).parents[1] / "data"
PHOTO_LIMIT_PX = 320
PHOTO_LIMIT_BYTES = 1_500_000
CHECKPOINT_LIMIT_BYTES = 8_000_000


def artifact(*, sha256: str, names: tuple[str, ...] = ()) -> Artifact:
    return Artifact(
        path=Path("model.onnx"),
        kind="onnx",
        step="export",
        sha256="",
        architecture="tresnet_m",
        precision="fp32",
        inputs=(),
        outputs=(),
        preprocess=Preprocess(),
        labels=Labels(classes=len(names) or 1000, names=names),
        source=Source(kind="file", location="model.pth", sha256=sha256),
    )


def pixel_hashes(found: ImageSet) -> set[str]:
    return {hashlib.sha256(decode(file.path).tobytes()).hexdigest() for file in found.files}


def test_the_photographs_are_readable_small_and_unlabelled() -> None:
    photos = images.sample_photos()
    assert len(photos) >= 30
    assert photos.is_sample
    assert not photos.labelled
    for file in photos.files:
        assert max(decode(file.path).size) <= PHOTO_LIMIT_PX
    assert sum(file.path.stat().st_size for file in photos.files) < PHOTO_LIMIT_BYTES


def test_the_photographs_have_colours_and_detail_like_real_ones() -> None:
    for file in images.sample_photos().files:
        assert np.asarray(decode(file.path)).std() > 20, file.path.name


def test_every_photograph_is_credited_with_a_free_licence() -> None:
    rows = re.findall(
        r"^\| `photos/(\S+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \| [^|]+ \|$",
        (DATA / "LICENSES.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert [name for name, _, _ in rows] == sorted(
        path.name for path in (DATA / "photos").iterdir()
    )
    assert {licence for _, _, licence in rows} <= {
        "public domain",
        "CC0 1.0",
        "CC BY 2.0",
        "CC BY 4.0",
    }
    assert all(author.strip() for _, author, _ in rows)


def test_every_file_in_the_box_has_a_licence() -> None:
    licences = (DATA / "LICENSES.md").read_text("utf-8")
    for path in DATA.rglob("*"):
        if path.is_file() and path.suffix not in (".md", ""):
            name = path.relative_to(DATA).as_posix()
            folder = "/".join(name.split("/")[:2])
            assert name in licences or f"{folder}/" in licences, name


@pytest.mark.parametrize(("split", "per_class"), [("calibration", 20), ("test", 100)])
def test_the_demo_images_are_labelled_and_class_balanced(split: str, per_class: int) -> None:
    found = demo_images(split)
    assert found.class_names == DEMO_CLASSES
    assert found.notes == ()
    counts = Counter(file.label for file in found.files)
    assert counts == dict.fromkeys(range(len(DEMO_CLASSES)), per_class)


def test_the_demo_images_are_those_of_the_data_set() -> None:
    for file in (*demo_images("test").files[::100], *demo_images("calibration").files[::20]):
        with Image.open(file.path) as image:
            assert image.size == (28, 28)
            assert image.mode == "L"


def test_calibration_and_test_images_have_nothing_in_common() -> None:
    calibration, test = pixel_hashes(demo_images("calibration")), pixel_hashes(demo_images("test"))
    assert len(calibration) == 200
    assert len(test) == 1000
    assert not calibration & test


def test_the_checkpoint_is_small() -> None:
    assert demo_checkpoint().stat().st_size < CHECKPOINT_LIMIT_BYTES


def test_missing_data_says_how_to_get_it_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(images.packaged, "files", lambda _package: tmp_path)
    with pytest.raises(UnavailableError, match="lacks its data photos") as caught:
        images.sample_photos()
    assert "--force-reinstall" in caught.value.hints[0]


@pytest.mark.parametrize(
    ("purpose", "source"),
    [
        ("calibrate", "Fashion-MNIST calibration images in the package"),
        ("compare", "Fashion-MNIST test images in the package"),
        ("evaluate", "Fashion-MNIST test images in the package"),
    ],
)
def test_the_demo_model_gets_its_own_images(purpose: images.Purpose, source: str) -> None:
    demo = artifact(sha256=sha256_of(demo_checkpoint()), names=DEMO_CLASSES)
    assert default_images(demo, purpose, None).source == source


@pytest.mark.parametrize("purpose", ["calibrate", "compare", "evaluate", "benchmark", "predict"])
def test_any_other_model_gets_the_photographs_with_advice(purpose: images.Purpose) -> None:
    found = default_images(artifact(sha256="0" * 64), purpose, None)
    assert found.is_sample
    assert "35 sample photographs in the package" in found.notes[0]


def test_the_users_folder_goes_first(tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "dog" / "1.png")
    model = artifact(sha256="0" * 64, names=("cat", "dog"))
    found = default_images(model, "evaluate", tmp_path)
    assert [file.label for file in found.files] == [1]
    assert not found.is_sample


def test_labels_that_contradict_the_model_matter_to_accuracy_and_not_to_calibration(
    tmp_path: Path,
) -> None:
    (tmp_path / "yak").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "yak" / "1.png")
    model = artifact(sha256="0" * 64, names=("cat", "dog"))
    with pytest.raises(ImageError, match="yak is none of the model's 2 classes"):
        default_images(model, "compare", tmp_path)
    assert "yak is none" in default_images(model, "calibrate", tmp_path).notes[0]
