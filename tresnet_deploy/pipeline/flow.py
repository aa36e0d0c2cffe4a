"""The steps in order, and the report at their end."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tresnet_deploy import artifacts, contestants, parity, sensitivity
from tresnet_deploy.contracts import Artifact, Progress, no_progress
from tresnet_deploy.images import ImageSet, default_images, sample
from tresnet_deploy.pipeline import making
from tresnet_deploy.pipeline.kernels import known_kernels
from tresnet_deploy.pipeline.plan import Deployment, Plan, Run, StepSeen, unseen
from tresnet_deploy.report import ReportData, headline, render
from tresnet_deploy.results import BenchmarkReport, ParityReport

REPORT: Final = "report.html"


def deploy(
    plan: Plan,
    *,
    seen: StepSeen = unseen,
    progress: Progress = no_progress,
    quiet: bool = False,
) -> Deployment:
    """Make, prove and measure an engine, and write the report, whatever the verdict.

    Raises:
        UsageError: the plan contradicts itself, or a file of the folder was made by another plan
            and may not be overwritten.
        UnavailableError: the plan's backend cannot run its engines here.
        DeployError: as the steps raise; what was finished before stays and is reused.
    """
    making.check_backend(plan)
    run = Run(plan=plan, seen=seen, progress=progress, quiet=quiet)
    with artifacts.locked(plan.folder):
        graph = run.step("export", lambda: making.exported(run))
        choices = making.choices(graph, plan)
        made = run.step("quantize", lambda: making.graphs(run, graph, choices))
        graphs = (graph, *made)
        engines = run.step("build engines", lambda: making.engines(run, graphs, choices))
        images = sample(default_images(graph, "compare", plan.images), plan.samples, seed=plan.seed)
        proof = run.step("compare", lambda: _compare(run, engines, images))
        speed = run.step("benchmark", lambda: _benchmark(run, engines, images))
        data = ReportData(
            subject=engines[0],
            artifacts=(*graphs, *engines),
            parity=proof,
            benchmark=speed,
            images={images.name_of(file): file.path for file in images.files},
            float_mib=contestants.size_mib(graph),
            sensitivity=sensitivity.known(plan.folder, graph),
            fused=known_kernels(graph, plan.folder),
            steps=tuple(run.steps),
            command=plan.command,
            created=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        )
        report = run.step("report", lambda: _report(run, data))
    return Deployment(
        headline=headline(data),
        engine=engines[0],
        artifacts=data.artifacts,
        parity=proof,
        benchmark=speed,
        report=report,
        steps=tuple(run.steps),
    )


def _compare(
    run: Run, engines: tuple[Artifact, ...], images: ImageSet
) -> tuple[ParityReport, str, bool]:
    plan = run.plan
    report = parity.prove(
        engines,
        images,
        folder=plan.folder,
        settings=plan.parity,
        blame=plan.blame,
        progress=run.progress,
        quiet=run.quiet,
    )
    return report, f"{report.verdict} on {report.images} images", False


def _benchmark(
    run: Run, engines: tuple[Artifact, ...], images: ImageSet
) -> tuple[BenchmarkReport, str, bool]:
    plan = run.plan
    report = contestants.measure(
        engines,
        dataclasses.replace(images, notes=()),  # the parity report has them
        folder=plan.folder,
        options=plan.benchmark,
        progress=run.progress,
        quiet=run.quiet,
    )
    names = {row.name for row in report.rows}
    return report, f"{len(names)} contestants, {report.rounds} interleaved rounds", False


def _report(run: Run, data: ReportData) -> tuple[Path, str, bool]:
    path = run.plan.folder / REPORT
    artifacts.write_whole(path, render(data).encode())
    return path, path.name, False
