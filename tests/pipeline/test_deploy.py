"""The whole flow on the demo network: what it makes, says, reuses and refuses."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from tresnet_deploy import contestants, parity
from tresnet_deploy.artifacts import from_json, read
from tresnet_deploy.errors import RunError, UsageError
from tresnet_deploy.images import ImageSet
from tresnet_deploy.parity import Overrides, Settings
from tresnet_deploy.pipeline import STEPS, Deployment, Plan, deploy, flow, making
from tresnet_deploy.report import StepTime
from tresnet_deploy.results import BenchmarkReport, ParityReport


def test_a_deployment_leaves_every_file_of_the_flow_and_a_report(
    plan: Plan, deployment: Deployment
) -> None:
    names = {path.name for path in plan.folder.iterdir()}
    assert {"tresnet.onnx", "tresnet.int8.onnx", "parity.json", "benchmark.json"} <= names
    assert deployment.report == plan.folder / "report.html"
    assert deployment.headline in deployment.report.read_text("utf-8").replace("&#39;", "'")
    for artifact in deployment.artifacts:
        assert read(artifact.path) == artifact


def test_the_engine_has_the_asked_precision_and_passed_parity_by_its_own_bytes(
    deployment: Deployment,
) -> None:
    assert deployment.engine.precision == "int8"
    assert deployment.headline.startswith(f"INT8 engine ({deployment.engine.backend}) passed: ")
    own = [row for row in deployment.benchmark.rows if row.sha256 == deployment.engine.sha256]
    assert {row.parity for row in own} == {"pass"}


def test_rivals_are_higher_precisions_and_other_backends(deployment: Deployment) -> None:
    engines = [each for each in deployment.artifacts if each.kind == "engine"]
    kinds = {(each.backend, each.precision) for each in engines}
    assert {("openvino", "int8"), ("openvino", "fp32"), ("onnxruntime", "int8")} <= kinds
    assert ("pytorch", "fp32") not in kinds


def test_every_contestant_runs_at_every_batch_beside_eager_pytorch(
    deployment: Deployment,
) -> None:
    rows = deployment.benchmark.rows
    names = {row.name for row in rows}
    assert {"pytorch eager fp32", "pytorch channels-last fp32", "openvino int8"} <= names
    for name in names:
        assert {(r.scenario, r.batch) for r in rows if r.name == name} == {
            ("latency", 1),
            ("throughput", 1),
            ("throughput", 2),
        }
    assert all(row.cosine_min is not None and row.cosine_min > 0.9 for row in rows)


def test_the_first_pytorch_row_is_the_reference_itself(deployment: Deployment) -> None:
    first = deployment.benchmark.rows[0]
    assert (first.name, first.parity) == ("pytorch eager fp32", "baseline")
    assert first.ratio is not None
    assert first.ratio.value == 1.0


def test_steps_are_told_as_they_begin_and_end(
    deployment: Deployment, told: list[tuple[int, str, StepTime | None]]
) -> None:
    assert [(number, name) for number, name, done in told if done is None] == list(
        enumerate(STEPS, start=1)
    )
    done = [each for _, _, each in told if each is not None]
    assert tuple(done) == deployment.steps
    assert not any(each.reused for each in done)


def test_reports_on_disk_are_those_returned(plan: Plan, deployment: Deployment) -> None:
    proof = from_json((plan.folder / "parity.json").read_bytes(), ParityReport, name="parity")
    speed = from_json((plan.folder / "benchmark.json").read_bytes(), BenchmarkReport, name="bench")
    assert proof == deployment.parity
    assert speed == deployment.benchmark


def test_a_second_run_reuses_what_the_same_settings_made(
    fresh: Plan, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_measuring(monkeypatch, deployment)
    again = deploy(fresh)
    reused = {step.name for step in again.steps if step.reused}
    assert reused == {"export", "quantize", "build engines"}
    assert again.engine.sha256 == deployment.engine.sha256


def test_an_interrupted_run_goes_on_where_it_stopped(
    fresh: Plan, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_measuring(monkeypatch, deployment)
    engine = fresh.folder / deployment.engine.path.name
    for path in engine.parent.glob(engine.name.partition(".openvino")[0] + ".openvino.*"):
        path.unlink()
    again = deploy(fresh)
    reused = {step.name for step in again.steps if step.reused}
    assert reused == {"export", "quantize"}
    assert engine.exists()


def test_files_of_another_plan_are_not_taken_for_this_ones(
    fresh: Plan, deployment: Deployment
) -> None:
    other = dataclasses.replace(fresh.export, activation="softmax")
    with pytest.raises(UsageError, match="made by other settings, files or versions") as caught:
        deploy(dataclasses.replace(fresh, export=other))
    assert "add --overwrite to make everything anew" in caught.value.hints


def test_a_graph_changed_on_disk_is_refused_not_reused(fresh: Plan, deployment: Deployment) -> None:
    with (fresh.folder / "tresnet.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UsageError, match="is not the file that"):
        deploy(fresh)


def test_a_failed_gate_still_leaves_a_report_that_says_so(
    fresh: Plan, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contestants, "measure", lambda *_, **__: deployment.benchmark)
    strict = Settings(overrides=Overrides(min_cosine=1.0))
    failed = deploy(dataclasses.replace(fresh, parity=strict))
    assert failed.parity.verdict == "fail"
    assert failed.headline.startswith("INT8 engine (openvino) failed: ")
    assert 'class="verdict failed"' in failed.report.read_text("utf-8")


def test_a_step_that_breaks_leaves_what_was_finished_before(
    fresh: Plan, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> ParityReport:
        raise RunError("device lost")

    monkeypatch.setattr(parity, "prove", broken)
    (fresh.folder / "report.html").unlink()
    with pytest.raises(RunError, match="device lost"):
        deploy(fresh)
    assert not (fresh.folder / "report.html").exists()
    assert read(fresh.folder / deployment.engine.path.name).precision == "int8"


def test_without_rivals_one_engine_is_built(deployment: Deployment, plan: Plan) -> None:
    graph = deployment.artifacts[0]
    alone = making.choices(graph, dataclasses.replace(plan, rivals=False))
    assert [(each.backend, each.precision) for each in alone] == [("openvino", "int8")]


def test_an_fp32_engine_has_no_higher_precision_to_beat(deployment: Deployment, plan: Plan) -> None:
    graph = deployment.artifacts[0]
    chosen = making.choices(graph, dataclasses.replace(plan, precision="fp32"))
    assert {each.precision for each in chosen} == {"fp32"}
    assert [each.backend for each in chosen] == ["openvino", "onnxruntime"]


def stub_measuring(monkeypatch: pytest.MonkeyPatch, deployment: Deployment) -> None:
    """Let comparing and timing return what they did the first time."""

    def prove(*_: object, **__: object) -> ParityReport:
        return deployment.parity

    def measure(_engines: object, _images: ImageSet, **__: object) -> BenchmarkReport:
        return deployment.benchmark

    monkeypatch.setattr(flow.parity, "prove", prove)
    monkeypatch.setattr(flow.contestants, "measure", measure)


def test_the_folder_is_held_while_a_deployment_runs(
    fresh: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "from pathlib import Path; from tresnet_deploy.artifacts import locked\n"
        f"with locked(Path({str(fresh.folder)!r})): pass"
    )
    seen: list[str] = []

    def probe(*_: object, **__: object) -> ParityReport:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        seen.append(done.stderr)
        raise RunError("enough")

    monkeypatch.setattr(flow.parity, "prove", probe)
    with pytest.raises(RunError, match="enough"):
        deploy(fresh)
    assert "another tresnet-deploy is writing" in seen[0]
