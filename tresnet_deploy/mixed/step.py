"""The whole search: from an FP32 graph and a bound to the blocks that stay float, or to none."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tresnet_deploy.artifacts import locked, to_json, write_whole
from tresnet_deploy.build import default_backend
from tresnet_deploy.contracts import Artifact, Batch, Probe, Progress, no_progress
from tresnet_deploy.images import ImageSet
from tresnet_deploy.int8_results import LatencyTable, MixedReport, Mixture, SensitivityReport
from tresnet_deploy.mixed import bounds, latencies
from tresnet_deploy.mixed.bounds import Bound
from tresnet_deploy.mixed.judging import Ground, Judge, workshop
from tresnet_deploy.mixed.latencies import Engine
from tresnet_deploy.mixed.search import Candidate, Found, ranked, search
from tresnet_deploy.quantize import QuantizeOptions
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.sensitivity import expressions_of, measured, prepare

REPORT: Final = "mixed.json"
PAGE: Final = "mixed.html"

_RANKED_ON: Final = 64  # images: SNR ranks blocks alike from few; the bound is judged on all


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to find blocks for: an engine of ``backend`` with its own ``options``, and a bound."""

    bound: Bound
    backend: str
    options: Any
    batch: Batch | None = None
    latency_table: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What was found, and by which effects of blocks it was looked for.

    ``options`` are those asked for, with one recipe where they asked for the best.
    """

    report: MixedReport
    sensitivity: SensitivityReport
    options: QuantizeOptions


def choose(
    artifact: Artifact,
    folder: Path,
    wanted: Wanted,
    *,
    calibration: ImageSet | None,
    images: ImageSet,
    options: QuantizeOptions,
    progress: Progress = no_progress,
) -> Chosen:
    """Return the fewest blocks of ``artifact`` to keep in float so that the bound is met.

    ``calibration`` are images to calibrate on, None for noise; ``images`` are others, to judge on.
    Only the calibration table and sensitivity.json are left in ``folder``; the engine is built by
    whoever asked, from :func:`applied`.

    Raises:
        UsageError: the images cannot show whether the bound is met, or the latency table is of
            another network.
        DeployError: as quantising, building and running raise.
    """
    bounds.check(wanted.bound, images, artifact.labels)
    begin = time.monotonic()
    with locked(folder), workshop(folder) as hidden:
        forms = prepare(artifact, folder, images=calibration, options=options, progress=progress)
        blocks = tuple(unit.block for unit in forms.units("block"))
        given = latencies.read(wanted.latency_table, blocks) if wanted.latency_table else None
        engine, notes = _engine(wanted, artifact)
        few = dataclasses.replace(images, files=images.files[:_RANKED_ON])
        effects = measured(forms, folder, few, by="block", progress=progress)
        table = given or latencies.measure(forms, engine, images, hidden, progress=progress)
        runs = engine.backend == wanted.backend
        judge = Judge(
            Ground(forms=forms, folder=hidden, images=images, engine=engine if runs else None)
        )
        ranking = ranked(_candidates(effects, table), table.float_ms)
        found = search(ranking, judge, wanted.bound, table, progress=progress)
    where = f"engines of {wanted.backend}" if runs else "graphs in ONNX Runtime"
    report = _report(artifact, wanted, found, table, where)
    report = dataclasses.replace(
        report,
        images=len(judge.files),
        image_source=images.source,
        seconds=round(time.monotonic() - begin, 1),
        notes=(*images.notes, *notes, *report.notes),
    )
    return Chosen(report=report, sensitivity=effects, options=forms.options)


def _report(
    artifact: Artifact, wanted: Wanted, found: Found, table: LatencyTable, judged_on: str
) -> MixedReport:
    """Return what was found; the images and the time it took are still to be told."""
    return MixedReport(
        architecture=artifact.architecture,
        file=artifact.path.name,
        graph_sha256=artifact.sha256,
        bound=str(wanted.bound),
        bound_kind=wanted.bound.kind,
        bound_share=wanted.bound.share,
        kept=found.kept,
        curve=found.curve,
        latencies=table,
        judged_on=judged_on,
        notes=_doubts(found, table),
    )


def applied(artifact: Artifact, chosen: Chosen) -> tuple[Artifact, QuantizeOptions]:
    """Return ``artifact`` and the options from which ``quantize`` makes the chosen mixture.

    What was chosen, why and the curve stand in the settings, which the INT8 graph and every engine
    of it inherit.
    """
    report, point = chosen.report, chosen.report.chosen
    assert report.kept is not None
    assert point is not None
    settings = {
        **artifact.settings,
        "mixed.bound": report.bound,
        "mixed.float_blocks": " ".join(report.kept),
        "mixed.agreement": point.judged.agreement,
        "mixed.drop": point.judged.drop,
        "mixed.images": report.images,
        "mixed.judged_on": report.judged_on,
        "mixed.curve": "; ".join(_in_words(each) for each in report.curve if each.efficient),
    }
    options = chosen.options
    return (
        dataclasses.replace(artifact, settings=settings),
        dataclasses.replace(options, exclude=(*options.exclude, *expressions_of(report.kept))),
    )


def save(report: MixedReport, folder: Path) -> Path:
    """Write ``report`` to ``folder``/mixed.json and return where.

    Raises:
        UnavailableError: the folder cannot be written.
    """
    write_whole(folder / REPORT, to_json(report))
    return folder / REPORT


def _engine(wanted: Wanted, artifact: Artifact) -> tuple[Engine, tuple[str, ...]]:
    """Return who times and runs: the backend itself, or the one for INT8 here if it cannot run."""
    first = artifact.inputs[0].shape[0]
    fixed = first if isinstance(first, int) else None
    batch = fixed or (wanted.batch.min if wanted.batch else 1)
    found: Probe = BACKENDS.load(wanted.backend).probe()
    if found.runs:
        return Engine(backend=wanted.backend, options=wanted.options, batch=batch), ()
    name, _ = default_backend("int8")
    note = f"{wanted.backend} does not run here, so blocks were timed on {name}"
    options = BACKENDS.load(name).options_for("int8")
    return Engine(backend=name, options=options, batch=batch), (note,)


def _doubts(found: Found, table: LatencyTable) -> tuple[str, ...]:
    """Return what speaks against shipping a mixture that was found."""
    if found.kept is None or table.of(found.kept) < table.float_ms:
        return ()
    return (
        f"the blocks of this mixture take {table.of(found.kept):.3f} ms and those of the float "
        f"network {table.float_ms:.3f} ms: INT8 gains nothing here",
    )


def _candidates(effects: SensitivityReport, table: LatencyTable) -> Sequence[Candidate]:
    cost = {each.block: each.cost_ms for each in table.blocks}
    return [
        Candidate(block=each.block, gain=each.noise_share, cost_ms=cost[each.block])
        for each in effects.effects
    ]


def _in_words(point: Mixture) -> str:
    kept = f"{len(point.kept)} float" if point.kept else "none float"
    return f"{kept}: {point.latency_ms:.3f} ms, agreement {point.judged.agreement:.4f}"
