"""An evaluation for people: totals, the classes with the most trouble, and the confusions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tresnet_deploy.cli._tables import percent, percent_span, table
from tresnet_deploy.results import ClassAccuracy, EvaluationReport

_SHOWN_CLASSES: Final = 20
_SHOWN_CONFUSIONS: Final = 10


def text(report: EvaluationReport) -> str:
    """Return the report; of many classes those that are found worst."""
    return "\n\n".join(_sections(report))


def _sections(report: EvaluationReport) -> Iterator[str]:
    runtime = "ONNX" if report.backend == "onnx" else report.backend
    yield (
        f"{report.file} ({report.architecture}, {runtime}, {report.precision}) "
        f"on {report.accuracy.images} images: {report.image_source}"
    )
    yield _totals(report)
    yield _classes(report)
    if report.confusions:
        yield _confusions(report)


def _totals(report: EvaluationReport) -> str:
    found = report.accuracy
    several = found.mean_ap is not None
    measures = (
        (("mAP", found.mean_ap), ("CF1", found.cf1), ("OF1", found.of1))
        if several
        else (("top-1", found.top1), ("top-5", found.top5))
    )
    rows = [(name, percent(value), "") for name, value in measures]
    name, value, _ = rows[0]
    rows[0] = (name, value, percent_span(found.interval))
    speed = f"{report.images_per_s:.0f} images/s, decoding included"
    return f"{table(('measure', 'value', '95 % interval'), rows)}\n\nspeed: {speed}"


def _classes(report: EvaluationReport) -> str:
    worst = sorted(report.classes, key=_rank)[:_SHOWN_CLASSES]
    several = report.accuracy.mean_ap is not None
    rows = [
        (
            found.name,
            str(found.images),
            *((percent(found.average_precision),) if several else ()),
            percent(found.recall),
            percent(found.precision),
        )
        for found in worst
    ]
    heads = ("class", "images", *(("AP",) if several else ()), "recall", "precision")
    left = len(report.classes) - len(worst)
    title = "classes, the worst first" + (f" ({left} more with --format json)" if left else "")
    return f"{title}\n{table(heads, rows, indent='  ')}"


def _rank(found: ClassAccuracy) -> float:
    """Return what orders classes, the worst first; those that no image shows come last."""
    measure = found.recall if found.average_precision is None else found.average_precision
    return 2.0 if measure is None else measure


def _confusions(report: EvaluationReport) -> str:
    shown = report.confusions[:_SHOWN_CONFUSIONS]
    rows = [(pair.label, pair.predicted, str(pair.images)) for pair in shown]
    return f"commonest confusions\n{table(('class', 'taken for', 'images'), rows, indent='  ')}"
