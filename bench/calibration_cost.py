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
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tresnet_deploy import environment
from tresnet_deploy.images import demo_checkpoint, sample_photos

COMMAND: Final = (sys.executable, "-c", "from tresnet_deploy.cli import main; main()")
KIB_PER_MIB: Final = 1024
GIB: Final = 2**30
CROP_PX: Final = 192  # of photographs of at most 320
OURS: Final = ("minmax", "mse", "percentile", "entropy")
THEIRS: Final = ("MinMax", "Percentile", "Entropy")
# argv: graph, folder of pictures, count, method, target, limit in bytes.
THEIR_SCRIPT: Final = """
import resource, sys
from pathlib import Path
import onnx
from onnx.inliner import inline_local_functions
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization import CalibrationDataReader
from tresnet_deploy import artifacts
from tresnet_deploy.images import batches, sample, scan
graph, folder, count, method, target, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
artifact = artifacts.read(Path(graph))
pictures = sample(scan(Path(folder)), int(count), seed=0)
class Reader(CalibrationDataReader):
    def __init__(self):
        self.found = batches(pictures, artifact.preprocess, 1)
    def get_next(self):
        batch = next(self.found, None)
        return batch and {artifact.inputs[0].name: batch.array}
plain = target + ".plain.onnx"
onnx.save(inline_local_functions(onnx.load(graph)), plain)
quantize_static(plain, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    calibrate_method=CalibrationMethod[method])
"""


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
        command = ("-c", THEIR_SCRIPT, graph, pictures, options.images, method, target, limit)
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
    begin = time.monotonic()
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return Cost(
        name=name,
        images=images,
        seconds=round(time.monotonic() - begin, 1),
        peak_mib=round(usage.ru_maxrss / KIB_PER_MIB),
        ended=f"failed ({code}): {said.strip()[:120]}" if code else "",
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
