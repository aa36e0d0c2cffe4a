"""Our engines beside those that others make of the same weights, interleaved in one run.

    python bench/engines.py [--models m,l] [--batches 1,8] [--rounds 7] [--quick] [--json FILE]

Contestants: eager PyTorch and torch.compile; ONNX Runtime and OpenVINO (FP32, bf16) reading the
plain torch export; NNCF's own INT8 engine of it (performance preset, on the same photographs);
and the engines that `tresnet-deploy build-engine` makes. All run in one process in shuffled rounds
on the same images. A ratio is the median over paired rounds, with a 95 % bootstrap interval.

The table has all of them in each round. Goals are judged by duels: rounds of the two engines alone,
as each would run in use, where ten engines take turns at the caches and scatter by several percent.
M and L take about 15 minutes on two quiet cores, half of it making engines and compiling. Memory
and the time of each step are measured apart, by bench/footprint.py.
"""

import argparse
import dataclasses
import functools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import nncf
import openvino
import torch
from openvino.properties import hint

from tresnet import TResNet
from tresnet.deploy_form import deploy_form
from tresnet_deploy import environment, weights
from tresnet_deploy.artifacts import to_json, write_whole
from tresnet_deploy.backends import onnxruntime as ort_backend
from tresnet_deploy.backends._cpu import available_cores
from tresnet_deploy.backends._openvino_session import OpenVinoSession
from tresnet_deploy.benchmark import Contestant, benchmark
from tresnet_deploy.build import build, file_name
from tresnet_deploy.contestants import Pictures, baselines, engines, pictures_of
from tresnet_deploy.contracts import Artifact, Batch, Precision, Session
from tresnet_deploy.export import ExportOptions, export
from tresnet_deploy.images import batches, sample_photos
from tresnet_deploy.quantize import QuantizeOptions, quantize
from tresnet_deploy.results import BenchmarkReport, BenchmarkRow
from tresnet_deploy.speedups import ratio_between
from tresnet_deploy.timing import Schedule

OPSET: Final = 18
LEAST_STEPS: Final = 2  # of a turn: eager TResNet-L takes a second for a batch of 8
EAGER: Final = "pytorch eager fp32"
COMPILED: Final = "pytorch compiled fp32"
NNCF: Final = "nncf + openvino int8"
PLAIN: Final = "openvino of the torch export"
OURS: Final[tuple[tuple[str, Precision], ...]] = (
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("onnxruntime", "fp32"),
    ("onnxruntime", "int8"),
)
# Contestant, rival, least ratio.
GOALS: Final = (
    ("openvino int8", NNCF, 0.98),
    ("onnxruntime int8", EAGER, 3.5),
    ("openvino fp32", f"{PLAIN}, fp32", 1.0),
    ("openvino bf16", f"{PLAIN}, bf16", 1.0),
)


def main() -> None:
    """Measure each model and print its tables; the exit code does not depend on the figures."""
    options = _arguments()
    for name, fact in environment.describe().items():
        print(f"{name}: {fact}", file=sys.stderr)
    for variant in options.models.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            contestants, architecture = _contestants(variant, Path(scratch), options)
            measured = functools.partial(_measured, architecture=architecture, options=options)
            duels = tuple(
                (pair, least, measured(pair)) for pair, least in _pairs_of_goals(contestants)
            )
            table = measured(contestants)
        _print(variant, table)
        for pair, least, report in duels:
            _print_duel(pair, least, report)
        _save(options.json, variant, (table, *(report for *_, report in duels)))


def _save(target: Path | None, variant: str, reports: tuple[BenchmarkReport, ...]) -> None:
    for number, report in enumerate(reports if target else ()):
        assert target is not None
        part = f".duel{number}" if number else ""
        write_whole(target.with_stem(f"{target.stem}.{variant}{part}"), to_json(report))


def _pairs_of_goals(
    contestants: tuple[Contestant, ...],
) -> Iterator[tuple[tuple[Contestant, Contestant], float]]:
    """Give the rival and ours of each goal that this machine can judge, and the least ratio."""
    found = {each.name: each for each in contestants}
    for ours, rival, least in GOALS:
        if ours in found and rival in found:
            yield (found[rival], found[ours]), least


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", default="m,l")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--quick", action="store_true", help="2 short rounds, no torch.compile")
    parser.add_argument("--json", type=Path, help="raw samples, one file a model")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.compile = 2, 0.2, False
    return options


def _measured(
    contestants: tuple[Contestant, ...], *, architecture: str, options: argparse.Namespace
) -> BenchmarkReport:
    return benchmark(
        contestants,
        architecture=architecture,
        batches=tuple(map(int, options.batches.split(","))),
        schedule=_schedule(options),
        quick=options.quick,
    )


def _schedule(options: argparse.Namespace) -> Schedule:
    return Schedule(
        rounds=options.rounds, seconds=options.seconds, min_steps=LEAST_STEPS, warmup_max_s=3.0
    )


def _contestants(
    variant: str, folder: Path, options: argparse.Namespace
) -> tuple[tuple[Contestant, ...], str]:
    """Return all contestants, whose engines lie in ``folder``, and the architecture."""
    source = weights.resolve(variant=variant, tag=weights.RANDOM)
    checkpoint = weights.load(source)
    photos = sample_photos()
    pictures = pictures_of(photos)
    target = folder / f"{variant}.onnx"
    exported = export(checkpoint, target, source=source, options=ExportOptions(), images=photos)
    quantized = quantize(
        exported, folder / f"{variant}.int8.onnx", images=photos, options=QuantizeOptions()
    )
    built = tuple(
        build(
            quantized if precision == "int8" else exported,
            folder / file_name(exported, backend, precision),
            backend=backend,
            precision=precision,
            images=photos,
        )
        for backend, precision in OURS
        if precision != "bf16" or environment.computes_bf16()
    )
    wanted = {EAGER, *([COMPILED] if options.compile else [])}
    torch_rows = baselines(exported, pictures, compiled=options.compile).contestants
    contestants = (
        *(each for each in torch_rows if each.name in wanted),
        *_rivals(checkpoint.model, exported, pictures, folder),
        *engines(built, pictures, known=None, schedule=_schedule(options)),
    )
    return contestants, exported.architecture


def _rivals(
    model: TResNet, exported: Artifact, pictures: Pictures, folder: Path
) -> Iterator[Contestant]:
    """What others make of the same weights: no operator, rewrite or graph of ours."""
    (spec,) = exported.inputs
    path = folder / "plain.onnx"
    program = torch.onnx.export(
        deploy_form(model),  # InPlace-ABN itself does not export
        (torch.from_numpy(pictures(exported.preprocess, 2)),),
        dynamo=True,
        opset_version=OPSET,
        input_names=[spec.name],
        output_names=[exported.outputs[0].name],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    program.save(path)
    plain = openvino.Core().read_model(path)
    quantized = nncf.quantize(
        plain,
        nncf.Dataset(_singles(exported)),
        preset=nncf.QuantizationPreset.PERFORMANCE,
    )
    kinds: tuple[tuple[str, Precision, openvino.Model], ...] = (
        (f"{PLAIN}, fp32", "fp32", plain),
        (f"{PLAIN}, bf16", "bf16", plain),
        (NNCF, "int8", quantized),
    )
    for name, precision, graph in kinds:
        if precision != "bf16" or environment.computes_bf16():
            opened = functools.partial(_openvino, graph, precision, exported, pictures)
            yield _contestant(name, "openvino", precision, opened)
    foreign = dataclasses.replace(exported, path=path)
    opened = functools.partial(_onnxruntime, foreign, pictures)
    yield _contestant("onnxruntime of the torch export, fp32", "onnxruntime", "fp32", opened)


def _singles(exported: Artifact) -> list[Any]:
    return [batch.array for batch in batches(sample_photos(), exported.preprocess, 1)]


def _contestant(name: str, backend: str, precision: Precision, opened: Any) -> Contestant:
    return Contestant(
        name=name, backend=backend, precision=precision, parity="not checked", open=opened
    )


def _openvino(
    graph: openvino.Model, precision: Precision, like: Artifact, pictures: Pictures, batch: int
) -> Session:
    """Compile for ``batch`` alone with the hints of ours; INT8 has OpenVINO's default remainder."""
    properties: dict[str, object] = {
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        openvino.properties.inference_num_threads: available_cores(),
    }
    if precision != "int8":
        kind = openvino.Type.f32 if precision == "fp32" else openvino.Type.bf16
        properties[hint.inference_precision] = kind
    session = OpenVinoSession(
        graph,
        inputs=like.inputs,
        outputs=like.outputs,
        properties=properties,
        batch=Batch(min=batch, opt=batch, max=batch),
    )
    session.bind({like.inputs[0].name: pictures(like.preprocess, batch)})
    return session


def _onnxruntime(artifact: Artifact, pictures: Pictures, batch: int) -> Session:
    session: Session = ort_backend.load(artifact)
    session.bind({artifact.inputs[0].name: pictures(artifact.preprocess, batch)})
    return session


def _print(variant: str, report: BenchmarkReport) -> None:
    rows = [row for row in report.rows if row.scenario == "throughput"]
    for batch in sorted({row.batch for row in rows}):
        found = {row.name: row for row in rows if row.batch == batch}
        print(f"\ntresnet_{variant}, batch {batch}\n")
        print("| engine | ms | images/s | over eager | 95 % interval |\n|---|--:|--:|--:|---|")
        for row in found.values():
            print(_line(row, found[EAGER]))
    _print_doubts(report)


def _print_duel(pair: tuple[Contestant, Contestant], least: float, report: BenchmarkReport) -> None:
    rival, ours = pair
    rows = {(row.name, row.batch): row for row in report.rows if row.scenario == "throughput"}
    print()
    for batch in sorted({batch for _, batch in rows}):
        ratio = ratio_between(rows[ours.name, batch], rows[rival.name, batch])
        verdict = "met" if ratio.value >= least else "missed"
        print(
            f"batch {batch}: {ours.name} over {rival.name}: {ratio.value:.3f} "
            f"({ratio.interval.low:.3f} to {ratio.interval.high:.3f}), goal {least:g}: {verdict}"
        )
    _print_doubts(report)


def _print_doubts(report: BenchmarkReport) -> None:
    for doubt in report.doubts:
        print(f"not for publication: {doubt}")
    for note in report.notes:
        print(f"note: {note}")
    sys.stdout.flush()


def _line(row: BenchmarkRow, eager: BenchmarkRow) -> str:
    ratio = ratio_between(row, eager)
    interval = f"{ratio.interval.low:.2f} to {ratio.interval.high:.2f}"
    speed = f"{row.p50_ms:.1f} | {row.images_per_s:.1f} | {ratio.value:.2f}"
    return f"| {row.name} | {speed} | {interval} |"


if __name__ == "__main__":
    main()
