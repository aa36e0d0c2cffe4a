"""The page: all views of a report in one self-contained HTML file."""

from __future__ import annotations

from tresnet_deploy import __version__
from tresnet_deploy.report import blame, gpu, int8, kernels, origin, proof, speed, verdict
from tresnet_deploy.report.data import ReportData
from tresnet_deploy.report.pages import template


def render(data: ReportData) -> str:
    """Return ``data`` as HTML that asks the network for nothing."""
    return template("report.html.jinja").render(
        data=data,
        version=__version__,
        title=f"{data.subject.architecture} {data.subject.precision}",
        outcome=verdict.outcome(data),
        headline=verdict.headline(data),
        figures=verdict.figures(data),
        remarks=verdict.remarks(data),
        speed_charts=speed.speed_charts(data),
        latency_chart=speed.latency_chart(data),
        sweep=speed.sweep(data),
        gpu=gpu.gpu_part(data),
        stage_chart=proof.stage_chart(data),
        accuracy_chart=proof.accuracy_chart(data),
        block_chart=blame.block_chart(data),
        sensitivity_charts=int8.sensitivity_charts(data.sensitivity) if data.sensitivity else (),
        gates=proof.gates(data),
        flips=proof.flips(data),
        kernels=kernels.views(data),
        kernels_key=kernels.KEY,
        files=origin.files(data),
        model_facts=origin.model_facts(data),
        machine_facts=origin.machine_facts(data),
    )
