"""A realistic report: a narrow demo model, three engines, four PyTorch rows, seven flips."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tresnet_deploy.contracts import (
    Artifact,
    Batch,
    FileDigest,
    Labels,
    Precision,
    Preprocess,
    Source,
    TensorSpec,
)
from tresnet_deploy.report import ReportData, StepTime
from tresnet_deploy.results import (
    Accuracy,
    BenchmarkReport,
    BenchmarkRow,
    Flip,
    Gate,
    Interval,
    ParityReport,
    StageParity,
)
from tresnet_deploy.speedups import round_speeds, verdicts, with_ratios

EAGER = "pytorch eager fp32"
NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def artifact(
    folder: Path, name: str, step: str, precision: Precision, *, parent: str = "", backend: str = ""
) -> Artifact:
    path = folder / name
    path.write_bytes(name.encode() * 9000)
    return Artifact(
        path=path,
        kind="engine" if backend else "onnx",
        step=step,
        sha256=sha(name),
        architecture="tresnet_m_x0.25",
        precision=precision,
        inputs=(TensorSpec(name="images", dtype="float32", shape=("batch", 3, 64, 64)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", 10)),),
        preprocess=Preprocess(height_px=64, width_px=64),
        labels=Labels(classes=10, names=NAMES),
        source=Source(kind="file", location="demo.safetensors", sha256=sha("checkpoint")),
        parents=(FileDigest(name=parent, sha256=sha(parent)),) if parent else (),
        backend=backend or None,
        batch=Batch() if backend else None,
        settings={"opset": 18, "method": "percentile"} if not backend else {"threads": 2},
        verified="equal to eager PyTorch within 1e-5 on 4 images" if step == "export" else None,
        created="2026-11-24T08:00:00.000000+00:00",
    )


def bench_row(
    name: str,
    ms: float,
    parity: str,
    *,
    batch: int,
    scenario: str,
    precision: Precision = "fp32",
    file: str = "",
) -> BenchmarkRow:
    noise = np.random.default_rng(len(name) + batch)
    count = max(6, int(400 / ms))
    samples = tuple(
        tuple(float(t) for t in ms * (0.97 + noise.gamma(1.5, 0.03, count))) for _ in range(7)
    )
    flat = np.concatenate(samples)
    speeds = round_speeds(samples, batch, scenario)  # type: ignore[arg-type]
    return BenchmarkRow(
        name=name,
        backend=name.partition(" ")[0],
        precision=precision,
        batch=batch,
        scenario=scenario,  # type: ignore[arg-type]
        p50_ms=float(np.percentile(flat, 50)),
        p90_ms=float(np.percentile(flat, 90)),
        p99_ms=float(np.percentile(flat, 99)),
        images_per_s=float(np.median(speeds)),
        ratio=None,
        drift=False,
        parity=parity,  # type: ignore[arg-type]
        samples_ms=samples,
        cosine_min=0.999,
        sha256=sha(file) if file else None,
    )


@pytest.fixture
def benchmark_report() -> BenchmarkReport:
    contestants: tuple[tuple[str, float, str, Precision, str], ...] = (
        (EAGER, 12.4, "baseline", "fp32", ""),
        ("pytorch eager fp32 channels-last", 10.9, "baseline", "fp32", ""),
        ("pytorch eager bf16 channels-last", 8.8, "baseline", "bf16", ""),
        ("pytorch compiled fp32", 7.6, "baseline", "fp32", ""),
        ("openvino fp32", 5.9, "pass", "fp32", "m.fp32.openvino.xml"),
        ("onnxruntime int8", 4.4, "not checked", "int8", "m.int8.onnxruntime.onnx"),
        ("openvino int8", 3.1, "pass", "int8", "m.int8.openvino.xml"),
    )
    scales = (("latency", 1, 1.0), ("throughput", 1, 1.0), ("throughput", 8, 6.4))
    rows = tuple(
        bench_row(
            name, ms * scale, parity, batch=batch, scenario=kind, precision=precision, file=file
        )
        for kind, batch, scale in scales
        for name, ms, parity, precision, file in contestants
    )
    done = with_ratios(rows, baseline=EAGER)
    return BenchmarkReport(
        architecture="tresnet_m_x0.25",
        rows=done,
        rounds=7,
        seconds_per_round=1.0,
        environment={
            "processor": "Example CPU 9000",
            "cores": "2 usable of 2",
            "instructions": "AVX2, AVX-512, AVX-512 VNNI",
            "openvino": "2026.4.1",
            "torch": "2.13.0",
        },
        verdicts=verdicts(done),
        notes=("p99 rests on as few as 42 samples; raise --seconds to quote it",),
    )


def stage(
    name: str, precision: Precision, snr_db: float | None, drop: float, *, file: str = "", flips=()
) -> StageParity:
    gates = (
        Gate(
            name="top-1 agreement",
            value=1 - len(flips) / 500,
            bound=0.98,
            direction="at least",
            passed=True,
            why="INT8 rounds activations to 255 steps",
        ),
    )
    return StageParity(
        stage=name,
        precision=precision,
        file=file or None,
        max_abs=0.01,
        mean_abs=0.001,
        cosine_min=1.0 if snr_db is None or snr_db > 100 else 0.9931,
        snr_db=snr_db,
        top1_agreement=1 - len(flips) / 500,
        top5_agreement=1.0,
        flips=flips,
        gates=gates,
        accuracy=Accuracy(
            images=500,
            top1=0.914 - drop,
            top5=0.998,
            interval=Interval(low=0.886, high=0.935),
            drop=drop,
            drop_interval=Interval(low=drop - 0.004, high=drop + 0.008),
        ),
        sha256=sha(file) if file else None,
    )


@pytest.fixture
def parity_report() -> ParityReport:
    flips = tuple(
        Flip(
            image=f"Shirt/{index:04d}.png",
            reference=NAMES[index % 5],
            candidate=NAMES[(index + 1) % 5],
            margin=0.02 * (index + 1),
            label=NAMES[(index * 2) % 5],
            outcome=("now wrong", "now right", *3 * ("wrong before and after",))[index % 5],
        )
        for index in range(7)
    )
    return ParityReport(
        reference="eager FP32 PyTorch",
        architecture="tresnet_m_x0.25",
        images=500,
        image_source="Fashion-MNIST test images in the package",
        stages=(
            stage("folded PyTorch", "fp32", 128.0, 0.0),
            stage("ONNX", "fp32", 121.0, 0.0, file="m.onnx"),
            stage("Q/DQ ONNX", "int8", 27.2, 0.002, file="m.int8.onnx", flips=flips[:6]),
            stage("openvino fp32", "fp32", 112.0, 0.0, file="m.fp32.openvino.xml"),
            stage("openvino int8", "int8", 26.9, 0.002, file="m.int8.openvino.xml", flips=flips),
        ),
        verdict="pass",
        reference_accuracy=Accuracy(
            images=500, top1=0.914, top5=0.998, interval=Interval(low=0.886, high=0.935)
        ),
    )


@pytest.fixture
def report_data(
    tmp_path: Path, benchmark_report: BenchmarkReport, parity_report: ParityReport
) -> ReportData:
    images = {}
    for index in range(6):  # the seventh picture is missing on purpose
        name = f"Shirt/{index:04d}.png"
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        shade = np.indices((64, 64)).sum(axis=0) * (index + 1) % 256
        Image.fromarray(shade.astype(np.uint8)).save(path)
        images[name] = path
    subject = artifact(
        tmp_path,
        "m.int8.openvino.xml",
        "build-engine",
        "int8",
        parent="m.int8.onnx",
        backend="openvino",
    )
    return ReportData(
        subject=subject,
        artifacts=(
            artifact(tmp_path, "m.onnx", "export", "fp32"),
            artifact(tmp_path, "m.int8.onnx", "quantize", "int8", parent="m.onnx"),
            artifact(
                tmp_path,
                "m.fp32.openvino.xml",
                "build-engine",
                "fp32",
                parent="m.onnx",
                backend="openvino",
            ),
            subject,
        ),
        parity=parity_report,
        benchmark=benchmark_report,
        steps=(
            StepTime(name="export", result="m.onnx", seconds=6.1),
            StepTime(name="quantize", result="m.int8.onnx", seconds=11.8, reused=True),
        ),
        images=images,
        float_mib=7.9,
        command="tresnet-deploy deploy --demo --output demo",
        created="24 November 2026, 08:00 UTC",
    )


@pytest.fixture
def failed_data(report_data: ReportData) -> ReportData:
    """The same, but the INT8 engine lost 11 points and failed its gate."""
    assert report_data.parity is not None
    assert report_data.benchmark is not None
    *others, last = report_data.parity.stages
    gate = dataclasses.replace(last.gates[0], value=0.87, passed=False)
    accuracy = Accuracy(
        images=500, top1=0.804, drop=0.11, drop_interval=Interval(low=0.081, high=0.139)
    )
    broken = dataclasses.replace(last, gates=(gate,), snr_db=9.0, accuracy=accuracy)
    rows = tuple(
        dataclasses.replace(row, parity="fail", ratio=None, best_pytorch=None)
        if row.sha256 == report_data.subject.sha256
        else row
        for row in report_data.benchmark.rows
    )
    return dataclasses.replace(
        report_data,
        parity=dataclasses.replace(report_data.parity, stages=(*others, broken), verdict="fail"),
        benchmark=dataclasses.replace(
            report_data.benchmark,
            rows=rows,
            verdicts=verdicts(rows),
            doubts=("this was a quick run",),
        ),
    )
