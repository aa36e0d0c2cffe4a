"""The deploy command: what it asks the pipeline for, what it says, and how it ends."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from tresnet_deploy import contestants, pipeline, quantize
from tresnet_deploy.artifacts import to_json
from tresnet_deploy.cli import deploy, export
from tresnet_deploy.cli._export_options import GraphForm
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.export import ExportOptions
from tresnet_deploy.images import demo_checkpoint
from tresnet_deploy.pipeline import Deployment, Plan
from tresnet_deploy.pipeline.plan import SAMPLES
from tresnet_deploy.report import StepTime
from tresnet_deploy.results import (
    BenchmarkReport,
    BenchmarkRow,
    Gate,
    Interval,
    ParityReport,
    Ratio,
    StageParity,
)
from tresnet_deploy.timing import QUICK

from .conftest import Command


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch, classifier: Artifact) -> list[Plan]:
    """Stand in for the pipeline: keep the plan, return a deployment that passed."""
    asked: list[Plan] = []

    def fake(plan: Plan, **options: object) -> Deployment:
        asked.append(plan)
        done = StepTime(name="export", result="stripes.onnx, opset 18", seconds=6.14)
        seen = options["seen"]
        assert callable(seen)
        seen(1, "export", None)
        seen(1, "export", done)
        seen(2, "quantize", None)
        seen(2, "quantize", replace(done, name="quantize", result="q.onnx", reused=True))
        return deployment(plan.folder, classifier)

    monkeypatch.setattr(pipeline, "deploy", fake)
    return asked


def deployment(folder: Path, engine: Artifact, *, passed: bool = True) -> Deployment:
    gate = Gate(name="smallest cosine", value=0.8, bound=0.9, direction="at least", passed=passed)
    stage = StageParity(
        stage="engine (openvino)",
        precision="int8",
        file="m.int8.openvino.xml",
        max_abs=0.1,
        mean_abs=0.01,
        cosine_min=0.8,
        snr_db=20.0,
        top1_agreement=0.99,
        top5_agreement=1.0,
        flips=(),
        gates=(gate,),
        sha256=engine.sha256,
    )
    row = BenchmarkRow(
        name="openvino int8",
        backend="openvino",
        precision="int8",
        batch=1,
        scenario="latency",
        p50_ms=3.1,
        p90_ms=3.2,
        p99_ms=3.3,
        images_per_s=322.0,
        ratio=Ratio(baseline="eager", value=3.94, interval=Interval(low=3.88, high=4.01)),
        drift=False,
        parity="pass",
    )
    return Deployment(
        headline="INT8 engine (openvino) passed: 3.94× eager",
        engine=engine,
        artifacts=(engine,),
        parity=ParityReport(
            reference="eager",
            architecture="m",
            images=100,
            image_source="some images",
            stages=(stage,),
            verdict="pass" if passed else "fail",
            notes=("few images",),
        ),
        benchmark=BenchmarkReport(
            architecture="m",
            rows=(row,),
            rounds=5,
            seconds_per_round=0.3,
            environment={},
            verdicts=("latency, batch 1: openvino int8 is the fastest",),
            doubts=("the machine was busy",),
            notes=("p99 rests on few samples",),
        ),
        report=folder / "report.html",
        steps=(),
    )


def test_the_demo_deploys_the_packaged_network_with_a_short_benchmark(
    command: Command, plans: list[Plan], tmp_path: Path
) -> None:
    done = command("deploy", "--demo", "-o", tmp_path, "--overwrite")
    assert done.code == 0, done.err
    (plan,) = plans
    assert plan.source.location == str(demo_checkpoint().resolve())
    assert (plan.precision, plan.backend, plan.overwrite) == ("int8", None, True)
    assert (plan.benchmark.schedule.rounds, plan.benchmark.schedule.seconds) == (5, 0.3)
    assert not plan.benchmark.quick
    assert not plan.benchmark.compiled


def test_deploy_takes_what_export_takes_for_the_graph(
    command: Command, plans: list[Plan], tmp_path: Path
) -> None:
    options = ("--opset", 20, "--image-size", "36x40", "--dynamic-size", "--operators", "inline")
    more = ("--input", "uint8-nhwc", "--activation", "sigmoid", "--multi-label", "--normalize")
    done = command("deploy", "--demo", "-o", tmp_path, *options, *more, "--pad-channels")
    assert done.code == 0, done.err
    assert plans[0].export == ExportOptions(
        opset=20,
        image_size=(36, 40),
        dynamic_size=True,
        operators="inline",
        layout="uint8-nhwc",
        activation="sigmoid",
        multi_label=True,
        normalize=True,
        pad_channels=True,
    )


def test_a_graph_that_cannot_be_is_refused_before_any_step(
    command: Command, plans: list[Plan], tmp_path: Path
) -> None:
    done = command("deploy", "--demo", "-o", tmp_path, "--opset", 9)
    assert done.code == 2
    assert "opset 9 is not between 18 and 23" in done.err
    assert plans == []


def test_export_and_deploy_have_the_same_options_for_the_graph() -> None:
    fields = {field.name for field in dataclasses.fields(GraphForm)}
    assert fields == {field.name for field in dataclasses.fields(ExportOptions)} - {"batch"}
    defaults = ExportOptions()
    for given in (deploy.command, export.command):
        said = given.make_context("", []).params
        assert {name: said[name] for name in fields} == {
            name: getattr(defaults, name) for name in fields
        }


def test_steps_and_files_go_to_stderr_and_the_summary_to_stdout(
    command: Command, plans: list[Plan], tmp_path: Path
) -> None:
    done = command("deploy", "--demo", "-o", tmp_path)
    assert done.err == (
        "[1/6] export\n"
        "      6.1 s: stripes.onnx, opset 18\n"
        "[2/6] quantize\n"
        "      reused: q.onnx\n"
        "warning: few images\n"
        "warning: times not for publication: the machine was busy\n"
        "note: p99 rests on few samples\n"
        f"saved: {tmp_path / 'report.html'}, and all that it tells of in {tmp_path}/\n"
        f"next: open {tmp_path / 'report.html'} in a browser\n"
        f"      tresnet-deploy predict --output {tmp_path} IMAGE\n"
    )
    assert "accuracy, 100 images: some images" in done.out
    assert "speed, 5 interleaved rounds, not for publication" in done.out
    assert "3.94" in done.out
    assert done.out.rstrip().endswith("INT8 engine (openvino) passed: 3.94× eager")


def test_every_option_reaches_the_plan(
    command: Command, plans: list[Plan], tmp_path: Path, class_folders: Path
) -> None:
    done = command(
        *("deploy", "--variant", "m", "--weights", "random", "--seed", 3, "--classes", 6),
        *("--precision", "bf16", "--backend", "openvino", "--batch", "1:2:4"),
        *("--image-size", "64x96", "--calibration-data", class_folders, "--method", "minmax"),
        *("--calibration-samples", 9, "--exclude", "conv1", "--quantize-all", "--strict"),
        *("--images", class_folders, "--samples", 12, "--no-rivals", "--quick", "--compile"),
        *("-o", tmp_path, "-q"),
    )
    assert done.code == 0, done.err
    (plan,) = plans
    assert (plan.source.kind, plan.source.variant, plan.source.seed) == ("random", "tresnet_m", 3)
    assert (plan.precision, plan.backend) == ("bf16", "openvino")
    assert plan.batch == Batch(min=1, opt=2, max=4)
    assert plan.export.image_size == (64, 96)
    assert (plan.calibration_data, plan.images) == (class_folders, class_folders)
    assert plan.quantize == quantize.QuantizeOptions(
        method="minmax", samples=9, seed=3, exclude=("conv1",), quantize_all=True, strict=True
    )
    assert (plan.samples, plan.rivals, plan.overwrite) == (12, False, False)
    assert plan.benchmark == contestants.Options(schedule=QUICK, quick=True, compiled=True)


def test_the_deployment_prints_as_json(
    command: Command, plans: list[Plan], tmp_path: Path, classifier: Artifact
) -> None:
    done = command("deploy", "--demo", "-o", tmp_path, "--format", "json", "-q")
    assert done.code == 0, done.err
    assert done.out.encode() == to_json(deployment(tmp_path, classifier))


@pytest.mark.usefixtures("bf16_runs")
def test_a_failed_gate_ends_with_1_after_the_report_is_written(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, classifier: Artifact
) -> None:
    failed = deployment(tmp_path, classifier, passed=False)
    monkeypatch.setattr(pipeline, "deploy", lambda *_, **__: failed)
    done = command("deploy", "--demo", "-o", tmp_path)
    assert done.code == 1
    assert f"saved: {tmp_path / 'report.html'}" in done.err
    assert "error: parity failed, first at engine (openvino): smallest cosine is 0.8" in done.err
    assert f"try: tresnet-deploy build-engine --precision bf16 --output {tmp_path}\n" in done.err
    assert "next:" not in done.err


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--variant", "m"), "--variant"),
        (("--checkpoint", "x.pth"), "--checkpoint"),
        (("--weights", "random"), "--weights"),
        (("--gammas", "auto"), "--gammas"),
        (("--trust-pickle",), "--trust-pickle"),
        (
            ("--classes", "7", "--slopes", "0.5", "--gammas", "plain"),
            "--classes, --gammas, --slopes",
        ),
    ],
)
def test_the_demo_takes_no_other_weights(
    command: Command, tmp_path: Path, more: tuple[str, ...], named: str
) -> None:
    done = command("deploy", "--demo", *more, "-o", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: --demo deploys the network in the package; it takes no other weights, so not "
        f"{named}\n  try: leave out {named}\n"
    )


def test_the_demo_takes_a_seed_as_calibration_draws_by_it(
    command: Command, plans: list[Plan], tmp_path: Path
) -> None:
    done = command("deploy", "--demo", "--seed", 3, "-o", tmp_path)
    assert done.code == 0, done.err
    assert (plans[0].seed, plans[0].quantize.seed) == (3, 3)


def test_without_weights_the_ways_to_name_some_are_shown(command: Command, tmp_path: Path) -> None:
    done = command("deploy", "-o", tmp_path)
    assert done.code == 2
    assert "try: --variant l --weights random" in done.err


def test_a_compare_sample_is_as_large_as_the_steps_own() -> None:
    options = {option.name: option for option in deploy.command.params}
    assert options["samples"].default == SAMPLES
