"""A deployment for people: the verdict, where accuracy went, and how fast it is."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tresnet_deploy.cli._tables import percent, table
from tresnet_deploy.pipeline import Deployment
from tresnet_deploy.results import BenchmarkRow, StageParity
from tresnet_deploy.speedups import headline_rows


def text(deployment: Deployment) -> str:
    """Return the summary; parity.json, benchmark.json and the report tell the rest."""
    return "\n\n".join(_sections(deployment))


def _sections(deployment: Deployment) -> Iterator[str]:
    proof, speed = deployment.parity, deployment.benchmark
    heads = ("stage", "precision", "min cosine", "same top-1", "flips", "accuracy", "drop", "gates")
    yield (
        f"accuracy, {proof.images} images: {proof.image_source}\n"
        f"{table(heads, map(_stage, proof.stages), indent='  ')}"
    )
    heads = ("engine", "scenario", "batch", "p50 ms", "img/s", "ratio", "95 % interval", "parity")
    note = "" if speed.publishable else ", not for publication"
    yield (
        f"speed, {speed.rounds} interleaved rounds{note}\n"
        f"{table(heads, map(_row, headline_rows(speed.rows)), indent='  ')}"
    )
    if speed.verdicts:
        yield "\n".join(f"  {verdict}" for verdict in speed.verdicts)
    colour = "green" if proof.verdict == "pass" else "red"
    yield click.style(deployment.headline, fg=colour, bold=True)


def _stage(stage: StageParity) -> tuple[str, ...]:
    accuracy = stage.accuracy
    drop = accuracy.drop if accuracy else None
    return (
        stage.stage,
        stage.precision,
        f"{stage.cosine_min:.5f}",
        percent(stage.top1_agreement),
        str(len(stage.flips)),
        percent(accuracy.headline if accuracy else None),
        "-" if drop is None else f"{100 * drop:+.1f} %",
        "pass" if stage.passed else "FAIL",
    )


def _row(row: BenchmarkRow) -> tuple[str, ...]:
    ratio = row.ratio
    return (
        row.name,
        row.scenario,
        str(row.batch),
        f"{row.p50_ms:.2f}",
        f"{row.images_per_s:.1f}",
        f"{ratio.value:.2f}" if ratio else "-",
        f"{ratio.interval.low:.2f} to {ratio.interval.high:.2f}" if ratio else "-",
        row.parity,
    )
