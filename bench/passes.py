"""Which graph pass pays for which engine: the measurements behind ``passes.DEFAULT_ORDER``.

    python bench/passes.py [--kind more|less] [--variants m,l] [--batches 1,8] [--cpu-time]

Every contestant is the backend's default order with one pass more, or for INT8 one less. All of one
table run in the same process, in shuffled, interleaved rounds; a ratio is the median over paired
rounds of the throughput over that of the default order, with a 95 % bootstrap interval. TResNet-M's
widths are multiples of 64, so padding leaves M as it is: what those rows show is the noise of two
builds of one graph. A pass more "pays" when its ratio is beyond that noise and its interval above
1; a pass less that "costs" belongs in the order.

On a machine that others use as well, ``--cpu-time`` counts the CPU time of one thread instead of
the time on the wall.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy import graph_files, passes, timing, weights
from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.backends import onnxruntime, openvino
from tresnet_deploy.contracts import Artifact, Precision, Session
from tresnet_deploy.environment import describe, overflows_int8
from tresnet_deploy.export import ExportOptions, export, file_name
from tresnet_deploy.images import sample_photos
from tresnet_deploy.passes.pad_channels import widen
from tresnet_deploy.quantize import QuantizeOptions, quantize
from tresnet_deploy.speedups import median_ratio

BACKENDS: Final = ("openvino", "onnxruntime")
CALIBRATION_IMAGES: Final = 8  # speed does not depend on the ranges
NOISE_SEED: Final = 0
SAME: Final = 0.02  # two builds of one graph differed by up to this much


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A pass, or several that belong together, on top of a backend's default order, or one less.

    ``before`` works on the float graph (what quantisation must see), ``after`` on the graph that
    the backend builds.
    """

    name: str
    before: Callable[[ir.Model], object] | None = None
    after: tuple[str, ...] = ()
    without: str = ""


DEFAULT: Final = Contestant(name="default order")
MORE: Final = (
    Contestant(name="fold-stem", after=("fold-stem",)),
    Contestant(name="edge-only-pad", after=("inline-operators", "edge-only-pad")),
    Contestant(name="pad-channels to 16", before=lambda model: widen(model, 16)),
    Contestant(name="pad-channels to 32", before=lambda model: widen(model, 32)),
)
NEEDED: Final = ("inline-operators", "quantize-outputs", "unsigned-activations")


def main() -> None:
    """Print one table for each variant, precision and batch size."""
    options = _arguments()
    if options.cpu_time:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    clock = time.process_time if options.cpu_time else time.perf_counter
    for name, fact in describe().items():
        print(f"{name}: {fact}", file=sys.stderr)
    schedule = timing.Schedule(rounds=options.rounds, seconds=options.seconds)
    with tempfile.TemporaryDirectory() as scratch:
        for variant in options.variants.split(","):
            exported = _export(variant, Path(scratch))
            for precision in options.precisions.split(","):
                for backend in options.backends.split(","):
                    contestants = _contestants(options.kind, backend, precision)
                    sessions = dict(
                        _sessions(contestants, exported, precision, backend, Path(scratch))
                    )
                    for batch in options.batches.split(","):
                        print(f"\n{variant}, {backend}, {precision}, batch {batch}")
                        _table(sessions, exported, int(batch), schedule, clock)
                    for session in sessions.values():
                        session.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--variants", default="m,l")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--precisions", default="fp32,int8")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--kind", choices=("more", "less"), default="more")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--cpu-time", action="store_true", help="CPU time of one thread")
    options = parser.parse_args()
    if "int8" in options.precisions.split(",") and overflows_int8():
        parser.error("INT8 graphs run in float on a processor without VNNI: --precisions fp32")
    return options


def _contestants(kind: str, backend: str, precision: str) -> tuple[Contestant, ...]:
    if kind == "more":
        return (DEFAULT, *MORE)
    names = passes.order_for(backend) if precision == "int8" else ()
    less = (name for name in names if name not in NEEDED)
    return (DEFAULT, *(Contestant(name=f"no {name}", without=name) for name in less))


def _export(variant: str, folder: Path) -> Artifact:
    source = weights.resolve(variant=variant, tag=weights.RANDOM)
    checkpoint = weights.load(source)
    return export(
        checkpoint,
        folder / file_name(checkpoint),
        source=source,
        options=ExportOptions(),
        images=sample_photos(),
    )


def _sessions(
    contestants: tuple[Contestant, ...],
    exported: Artifact,
    precision: Precision,
    backend: str,
    folder: Path,
) -> Iterator[tuple[str, Session]]:
    for number, contestant in enumerate(contestants):
        stem = f"{exported.path.stem}.{precision}.{backend}.{number}"
        source = exported
        if contestant.before is not None:
            model = graph_files.load(exported.path)
            contestant.before(model)
            source = _saved(model, exported, folder / f"{stem}.float.onnx")
        if precision == "int8":
            source = quantize(
                source,
                folder / f"{stem}.int8.onnx",
                images=sample_photos(),
                options=QuantizeOptions(samples=CALIBRATION_IMAGES, pad_channels=False),
            )
        model = graph_files.load(source.path)
        kept = (name for name in passes.order_for(backend) if name != contestant.without)
        passes.run(model, (*kept, *contestant.after))
        if backend == "onnxruntime":
            yield contestant.name, onnxruntime.session_of(model)
        else:
            yield contestant.name, openvino.load(_saved(model, source, folder / f"{stem}.onnx"))


def _saved(model: ir.Model, like: Artifact, path: Path) -> Artifact:
    graph_files.save(model, path)
    return dataclasses.replace(like, path=path, sha256=sha256_of(path))


def _table(
    sessions: dict[str, Session],
    exported: Artifact,
    batch: int,
    schedule: timing.Schedule,
    clock: timing.Clock,
) -> None:
    (spec,) = exported.inputs
    shape = (batch, *(int(size) for size in spec.shape[1:]))
    images = np.random.default_rng(NOISE_SEED).random(shape, dtype=np.float32)
    for session in sessions.values():
        session.bind({spec.name: images})
    results = timing.interleaved(tuple(sessions.values()), schedule, clock=clock)
    medians = [np.array([np.median(times) for times in each.rounds_ms]) for each in results]
    print(f"{'':23}  {'ms':>8}  {'ratio':>6}  95 % interval")
    for name, times in zip(sessions, medians, strict=True):
        value, interval = median_ratio(medians[0] / times)
        clear = abs(value - 1) > SAME and not interval.low <= 1 <= interval.high
        verdict = ("pays" if value > 1 else "costs") if clear else ""
        print(
            f"{name:23}  {np.median(times):8.2f}  {value:6.3f}  "
            f"{interval.low:.3f} to {interval.high:.3f}  {verdict}".rstrip(),
            flush=True,
        )


if __name__ == "__main__":
    main()
