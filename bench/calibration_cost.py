"""What calibrating costs: time and peak memory of ours beside ONNX Runtime's calibrators.

    python bench/calibration_cost.py [--variant l] [--images 500] [--flat 100,5000] [--json FILE]

From an FP32 graph and a folder of pictures to a Q/DQ graph, each in a process of its own; the peak
is what the kernel counted for it (ru_maxrss). Ours is the command that a user types; ONNX Runtime's
`quantize_static` has its defaults and reads the same pictures one by one through our preprocessing.
A process that would take more than `--limit-gib` is refused the memory and its row says so. Then,
on the network in the box, ours with few pictures and with many: the memory should be the same.
The pictures are crops of the photographs in the package, as many as are asked for.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from processes import COMMAND, ended

from tresnet_deploy import environment
from tresnet_deploy.images import demo_checkpoint, sample_photos

GIB: Final = 2**30
CROP_PX: Final = 192  # of photographs of at most 320
OURS: Final = ("minmax", "mse", "percentile", "entropy")
THEIRS: Final = ("MinMax", "Percentile", "Entropy")
THEIR_SCRIPT: Final = Path(__file__).with_name("ort_static.py")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one process took; `ended` says why it gave no graph, empty where it did."""

    name: str
    images: int
    seconds: float
    peak_mib: float
    ended: str = ""


def main() -> None:
    """Print two tables."""
    options = _arguments()
    for name, fact in environment.describe().items():
        print(f"{name}: {fact}", file=sys.stderr)
    flat = tuple(map(int, options.flat.split(",")))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_crops(folder / "pictures", max(options.images, *flat))
        _export(folder / "large", "--variant", options.variant, "--weights", "random")
        _export(folder / "small", "--checkpoint", demo_checkpoint())
        costs = list(_table(f"tresnet_{options.variant}", _rows(folder, options)))
        costs += _table("the network in the box", _flat(folder, flat))
    if options.json:
        facts = environment.describe()
        data = {"environment": facts, "costs": [asdict(cost) for cost in costs]}
        options.json.write_text(json.dumps(data, indent=2) + "\n", "utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variant", default="l")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--flat", default="100,5000")
    parser.add_argument("--limit-gib", type=int, default=18)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _write_crops(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    photos = [np.asarray(Image.open(file.path).convert("RGB")) for file in sample_photos().files]
    for number in range(count):
        photo = photos[number % len(photos)]
        top, left = (int(rng.integers(0, max(1, side - CROP_PX))) for side in photo.shape[:2])
        crop = photo[top : top + CROP_PX, left : left + CROP_PX]
        Image.fromarray(crop).save(folder / f"{number:05d}.jpg", quality=90)


def _export(folder: Path, *options: object) -> None:
    command = (*COMMAND, "export", *options, "-o", folder, "--quiet")
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def _graph(folder: Path) -> Path:
    (graph,) = folder.glob("*.onnx")
    return graph


def _rows(folder: Path, options: argparse.Namespace) -> Iterator[Cost]:
    graph, pictures = _graph(folder / "large"), folder / "pictures"
    for method in OURS:
        yield _ours(graph, pictures, options.images, method)
    for method in THEIRS:
        target = folder / f"{method}.onnx"
        limit = options.limit_gib * GIB
        command = (THEIR_SCRIPT, graph, pictures, options.images, method, target, limit)
        yield _measured(f"ONNX Runtime, {method}", options.images, (sys.executable, *command))


def _flat(folder: Path, counts: tuple[int, ...]) -> Iterator[Cost]:
    graph = _graph(folder / "small")
    for count in counts:
        for method in ("minmax", "mse"):
            yield _ours(graph, folder / "pictures", count, method)


def _ours(graph: Path, pictures: Path, count: int, method: str) -> Cost:
    """Time `quantize` into a new folder, so that no table of ranges is there already."""
    with tempfile.TemporaryDirectory() as target:
        options = ("--calibration-data", pictures, "--calibration-samples", count)
        command = (*COMMAND, "quantize", graph, *options, "--method", method, "-o", target, "-q")
        return _measured(f"ours, {method}", count, command)


def _measured(name: str, images: int, command: tuple[object, ...]) -> Cost:
    found = ended(command)
    return Cost(
        name=name,
        images=images,
        seconds=found.seconds,
        peak_mib=found.peak_mib,
        ended=f"failed ({found.code}): {found.said[:120]}" if found.code else "",
    )


def _table(title: str, costs: Iterator[Cost]) -> Iterator[Cost]:
    print(f"\n{title}\n\n| calibrator | images | s | peak MiB | |\n|---|--:|--:|--:|---|")
    for cost in costs:
        print(
            f"| {cost.name} | {cost.images:,} | {cost.seconds:.1f} | {cost.peak_mib:,.0f} "
            f"| {cost.ended} |",
            flush=True,
        )
        yield cost


if __name__ == "__main__":
    main()
