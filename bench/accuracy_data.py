"""The trained networks of bench/accuracy.py, each with the images that it is measured on."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import stress

from tresnet_deploy import artifacts, graph_files, weights
from tresnet_deploy.contracts import Array, Artifact
from tresnet_deploy.export import ExportOptions, export
from tresnet_deploy.images import ImageSet, batches, demo_checkpoint, demo_images, sample, scan

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"
CIFAR10_CHECKPOINT: Final = EXAMPLES / "cifar10_tresnet_m_0.25.safetensors"
MOST_SAMPLES: Final = 300  # NNCF's own default
_BATCH: Final = 100


@dataclass(frozen=True, kw_only=True)
class Ground:
    """An exported network, the images to calibrate and choose on, and the test images.

    `samples` images of `pool` are calibrated on; the rest of it is left to choose with. `test` is
    (N, 3, H, W) as the network wants it, `labels` are (N,).
    """

    name: str
    folder: Path
    artifact: Artifact
    pool: ImageSet
    samples: int
    test: Array
    labels: npt.NDArray[np.int64]

    def judging(self, count: int) -> tuple[Array, npt.NDArray[np.int64]]:
        """Images (count, 3, H, W) and labels (count,) of the pool, for choices."""
        drawn = sample(self.pool, count, seed=0)
        return _array(drawn, self.artifact), _labels(drawn)

    def calibration(self, seed: int) -> Array:
        """Images (samples, 3, H, W) of the pool, as `--calibration-data` draws them."""
        return _array(sample(self.pool, self.samples, seed=seed), self.artifact)


def demo(folder: Path) -> Ground:
    """Return the network in the box with its 1,000 test and 200 calibration images."""
    pool, test = demo_images("calibration"), demo_images("test")
    exported = _exported(demo_checkpoint(), folder, test)
    return _ground("the network in the box (Fashion-MNIST)", exported, pool, test)


def outliers(folder: Path) -> Ground:
    """Return that network with outliers in its activations, the same in float to the bit."""
    pool, test = demo_images("calibration"), demo_images("test")
    plain, path = _exported(demo_checkpoint(), folder / "plain", test), folder / "model.onnx"
    if not path.is_file():
        stress.saved(stress.stressed(graph_files.load(plain.path)), plain, path)
    return _ground("the same with outliers (stress set)", artifacts.read(path), pool, test)


def cifar10(folder: Path) -> Ground:
    """Return the network trained on CIFAR-10, its 10,000 test and 5,000 held-out images."""
    sys.path.insert(0, str(EXAMPLES))
    import cifar10 as source

    training, test = (source.read(folder / "data", part) for part in ("train", "test"))
    source.write_pngs(test, folder / "test")
    source.write_pngs(source.held_out(training)[1], folder / "pool")
    sets = [scan(folder / part, class_names=source.CLASSES) for part in ("pool", "test")]
    exported = _exported(CIFAR10_CHECKPOINT, folder, sets[1])
    return _ground("TResNet-M x 0.25 on CIFAR-10", exported, *sets)


def _exported(checkpoint: Path, folder: Path, images: ImageSet) -> Artifact:
    """Return the network in `folder`, exported unless it is there.

    Raises:
        SystemExit: another network lies there.
    """
    path = folder / "model.onnx"
    if path.is_file():
        found = artifacts.read(path)
        if found.source.sha256 != artifacts.sha256_of(checkpoint):
            raise SystemExit(f"{folder} holds results of another network: remove it")
        return found
    source = weights.resolve(checkpoint=checkpoint)
    loaded = weights.load(source)
    return export(loaded, path, source=source, options=ExportOptions(), images=images)


def _ground(name: str, artifact: Artifact, pool: ImageSet, test: ImageSet) -> Ground:
    return Ground(
        name=name,
        folder=artifact.path.parent,
        artifact=artifact,
        pool=pool,
        samples=min(MOST_SAMPLES, len(pool) // 2),
        test=_array(test, artifact),
        labels=_labels(test),
    )


def _labels(images: ImageSet) -> npt.NDArray[np.int64]:
    return np.array([file.label for file in images.files], np.int64)


def _array(images: ImageSet, artifact: Artifact) -> Array:
    return np.concatenate([each.array for each in batches(images, artifact.preprocess, _BATCH)])


GROUNDS: Final[dict[str, Callable[[Path], Ground]]] = {
    "demo": demo,
    "outliers": outliers,
    "cifar10": cifar10,
}
