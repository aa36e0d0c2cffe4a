"""Fashion-MNIST: reads its files, splits it, and writes the images that the package ships.

    python examples/fashion_mnist.py --data /usr/share/datasets/fashion-mnist --output FOLDER

The data set (Zalando SE, MIT licence) is 60,000 training and 10,000 test images of 28x28 grey
pixels in ten classes. Debian ships it: `apt-get install dataset-fashion-mnist`.
"""

import argparse
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from tresnet_deploy.images.packaged import DEMO_CLASSES

VALIDATION_SHARE: Final = 12
"""One training image in twelve, 5,000 in all, is held out to choose the recipe with."""

TEST_PER_CLASS: Final = 100
CALIBRATION_PER_CLASS: Final = 20

_SPLIT_SEED: Final = 20170828  # the day of the data set's paper, arXiv 1708.07747
_IDX_UINT8: Final = 8  # the type code of unsigned bytes in the idx format
_IDX_TYPE_BYTE: Final = 2
_IDX_DIMENSIONS_BYTE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images (N, 28, 28) uint8 and their classes (N,) int64."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[np.int64]) -> "Split":
        """The images of these rows."""
        return Split(images=self.images[rows], labels=self.labels[rows])


def read(folder: Path, part: str) -> Split:
    """The "train" or "t10k" part of the idx files in `folder`, gzipped or not.

    Raises:
        SystemExit: a file is missing or is no idx file of bytes.
    """
    images = _read_idx(folder / f"{part}-images-idx3-ubyte")
    labels = _read_idx(folder / f"{part}-labels-idx1-ubyte")
    return Split(images=images, labels=labels.astype(np.int64))


def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array in an idx file: 0, 0, type, dimensions, the big-endian sizes, the values."""
    zipped = path.with_name(path.name + ".gz")
    if path.is_file():
        content = path.read_bytes()
    elif zipped.is_file():
        content = gzip.decompress(zipped.read_bytes())
    else:
        raise SystemExit(
            f"{path.parent} has no {path.name}: give the folder of Fashion-MNIST's files with "
            "--data (Debian: apt-get install dataset-fashion-mnist)"
        )
    if content[:_IDX_DIMENSIONS_BYTE] != bytes((0, 0, _IDX_UINT8)):
        raise SystemExit(f"{path} is no idx file of bytes")
    shape = np.frombuffer(content, ">u4", content[_IDX_DIMENSIONS_BYTE], offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape))
    if values.size != shape.prod():
        raise SystemExit(f"{path} is truncated: {values.size} values, not {shape.prod()}")
    return values.reshape(tuple(shape))


def held_out(training: Split) -> tuple[Split, Split]:
    """The training part without its validation images, and these."""
    validation = validation_rows(training)
    rest = np.setdiff1d(np.arange(len(training)), validation)
    return training.take(rest), training.take(validation)


def validation_rows(training: Split) -> npt.NDArray[np.int64]:
    """Rows of the training part that no training sees, as many of each class."""
    per_class = len(training) // VALIDATION_SHARE // len(DEMO_CLASSES)
    return balanced_rows(training.labels, per_class)


def balanced_rows(labels: npt.NDArray[np.int64], per_class: int) -> npt.NDArray[np.int64]:
    """Rows with `per_class` of each class, chosen by a fixed seed, class after class."""
    random = np.random.default_rng(_SPLIT_SEED)
    return np.concatenate(
        [
            np.sort(random.permutation(np.flatnonzero(labels == label))[:per_class])
            for label in range(len(DEMO_CLASSES))
        ]
    )


def folder_name(class_name: str) -> str:
    """The class name as a folder: "T-shirt/top" has a character that no folder may have."""
    return class_name.replace("/", "_")


def write_pngs(split: Split, rows: npt.NDArray[np.int64], folder: Path) -> None:
    """Write those images as `CLASS/ROW.png`; the row is that of the published file."""
    for row in rows:
        target = folder / folder_name(DEMO_CLASSES[split.labels[row]]) / f"{row:05d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.images[row]).save(target, optimize=True)


def main() -> None:
    """Write `test/` from the test part, and `calibration/` from the validation images."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the idx files")
    parser.add_argument("--output", type=Path, required=True, help="where to write the folders")
    arguments = parser.parse_args()
    training, test = read(arguments.data, "train"), read(arguments.data, "t10k")
    validation = validation_rows(training)
    nth = len(validation) // (CALIBRATION_PER_CLASS * len(DEMO_CLASSES))
    write_pngs(training, validation[::nth], arguments.output / "calibration")
    write_pngs(test, balanced_rows(test.labels, TEST_PER_CLASS), arguments.output / "test")


if __name__ == "__main__":
    main()
