"""The images and the trained checkpoint in the box, and which images a step takes by default."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Literal

from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import UnavailableError
from tresnet_deploy.images.folders import scan
from tresnet_deploy.images.sets import ImageSet

Purpose = Literal["calibrate", "compare", "evaluate", "benchmark", "predict"]

DEMO_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""Fashion-MNIST's classes, in the order of its label files."""

_ADVICE: dict[Purpose, str] = {
    "calibrate": "calibrating on sample photographs; a few hundred of your own images, given with "
    "--calibration-data DIR, keep more accuracy",
    "compare": "comparing on sample photographs; your own images, given with --images DIR, show "
    "what your users will see",
    "evaluate": "the sample photographs have no labels; give labelled images with --images DIR",
    "benchmark": "timing on sample photographs; the content of images does not change the speed",
    "predict": "classifying the sample photographs",
}
_DEMO = "fashion_mnist"
_CHECKPOINT = "tresnet_m_0.25.safetensors"


def sample_photos() -> ImageSet:
    """Return the unlabelled sample photographs, credited in ``data/LICENSES.md``."""
    return _packaged("photos", (), "sample photographs in the package")


def demo_images(split: Literal["calibration", "test"]) -> ImageSet:
    """Return labelled Fashion-MNIST images: ``test`` was never used in training or tuning."""
    return _packaged(
        f"{_DEMO}/{split}", DEMO_CLASSES, f"Fashion-MNIST {split} images in the package"
    )


def demo_checkpoint() -> Path:
    """Return the trained narrow TResNet-M for 64 px images, in MIIL's layout of keys.

    Raises:
        UnavailableError: the installed package lacks its data.
    """
    return _present(f"{_DEMO}/{_CHECKPOINT}")


def default_images(artifact: Artifact, purpose: Purpose, folder: Path | None) -> ImageSet:
    """Return the images in ``folder``, or, where None was given, packaged ones that fit.

    The demo model gets its own images: the calibration split for "calibrate", else the test split.
    Every other model gets the sample photographs, with a note that one's own images are better.

    Raises:
        ImageError: ``folder`` cannot be used, or its labels contradict the model's classes (for
            "calibrate" that is only a note).
    """
    if folder is not None:
        return scan(
            folder,
            class_names=artifact.labels.names,
            classes=artifact.labels.classes,
            require_labels=purpose in ("evaluate", "compare"),
        )
    if artifact.source.sha256 == sha256_of(demo_checkpoint()):
        return demo_images("calibration" if purpose == "calibrate" else "test")
    photos = sample_photos()
    return replace(photos, notes=(f"{_ADVICE[purpose]} ({len(photos)} {photos.source})",))


def _packaged(name: str, class_names: tuple[str, ...], source: str) -> ImageSet:
    return replace(scan(_present(name), class_names=class_names), source=source, is_sample=True)


def _present(name: str) -> Path:
    # Not a Traversable: wheels are unpacked when installed, and runtimes open files by name.
    path = Path(str(files("tresnet_deploy"))) / "data" / name
    if not path.exists():
        raise UnavailableError(
            f"the installed tresnet-deploy lacks its data {name}",
            hints=("pip install --force-reinstall --no-deps tresnet-deploy",),
        )
    return path
