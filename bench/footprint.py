"""Seconds and peak memory of each step and each engine, every one in a process of its own.

    python bench/footprint.py [--models m,l] [--batch 8] [--json FILE]

Peaks are what the kernel counted for the process (ru_maxrss). Steps are the commands that users
type, so their seconds include starting Python and importing. Engines load, bind one batch of
photographs and run three times. Random weights: neither figure depends on their values.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from processes import COMMAND, ended

from tresnet_deploy import environment

SCHEMA_VERSION: Final = 1
CALIBRATION_IMAGES: Final = 64
BACKENDS: Final = ("openvino", "onnxruntime")
RUN: Final = (sys.executable, Path(__file__).with_name("run_once.py"))


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one process took; ``limit`` is what is promised of it, empty where nothing is."""

    name: str
    seconds: float
    peak_mib: float
    limit: str = ""


def main() -> None:
    """Print one table for each model; the exit code does not depend on the figures."""
    options = _arguments()
    for name, fact in environment.describe().items():
        print(f"{name}: {fact}", file=sys.stderr)
    found: dict[str, list[Footprint]] = {}
    for variant in options.models.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            found[variant] = list(_footprints(variant, Path(scratch), options.batch))
        _print(variant, found[variant])
    if options.json:
        rows = {variant: [asdict(row) for row in rows] for variant, rows in found.items()}
        facts = environment.describe()
        data = {"schema_version": SCHEMA_VERSION, "environment": facts, "models": rows}
        options.json.write_text(json.dumps(data, indent=2) + "\n", "utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", default="m,l")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _footprints(variant: str, folder: Path, batch: int) -> Iterator[Footprint]:
    name = f"tresnet_{variant}"
    graph = folder / f"{name}.onnx"
    large = variant == "l"
    yield _step(
        *("export", "--variant", variant, "--weights", "random", "-o", folder),
        limit="30 s, 2,500 MiB" if large else "",
    )
    yield _step(
        *("quantize", graph, "--calibration-samples", CALIBRATION_IMAGES, "-o", folder),
        limit="60 s" if large else "",
    )
    for backend in BACKENDS:
        for source in (graph, folder / f"{name}.int8.onnx"):
            yield _step("build-engine", source, "--backend", backend, "-o", folder)
    yield _measured("eager PyTorch fp32", (*RUN, graph, batch))
    for suffix in ("openvino.xml", "onnxruntime.onnx"):
        for precision in ("fp32", "int8"):
            engine = folder / f"{name}.{precision}.{suffix}"
            yield _measured(engine.name, (*RUN, engine, batch))


def _step(command: str, *arguments: object, limit: str = "") -> Footprint:
    files = [word.name for word in arguments if isinstance(word, Path) and word.suffix]
    words = [word for word in arguments if word in BACKENDS]
    shown = " ".join((command, *files, *map(str, words)))
    return _measured(shown, (*COMMAND, command, *arguments, "--quiet"), limit=limit)


def _measured(name: str, command: tuple[object, ...], *, limit: str = "") -> Footprint:
    found = ended(command)
    if found.code:
        sys.exit(f"{name} ended with {found.code}: {found.said}")
    return Footprint(name=name, seconds=found.seconds, peak_mib=found.peak_mib, limit=limit)


def _print(variant: str, rows: list[Footprint]) -> None:
    print(f"\ntresnet_{variant}\n\n| process | s | peak MiB | promised at most |")
    print("|---|--:|--:|---|")
    for row in rows:
        print(f"| {row.name} | {row.seconds:.1f} | {row.peak_mib:,.0f} | {row.limit} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
