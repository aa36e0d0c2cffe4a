"""The kernels part: what the builder of an engine fused, drawn in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tresnet_deploy.fusions import (
    EXTRA,
    FindingKind,
    FusionReport,
    FusionTotals,
    Kernel,
    wording,
)
from tresnet_deploy.report.charts import Kind
from tresnet_deploy.report.data import FusedEngine, ReportData
from tresnet_deploy.report.verdict import Figure

KEY: Final[tuple[tuple[Kind, str], ...]] = (
    ("subject", "convolution or matrix product"),
    ("baseline", "the same, but its activation is in a later kernel"),
    ("engine", "other computing"),
    ("failed", "computes nothing"),
)
_SHOWN_PLACES: Final = 3
_FULL: Final = 100.0
_PRODUCTS: Final = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A kernel in the ribbon, at percent of its width."""

    at: float
    width: float
    kind: Kind
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """A kind of finding: how many, what it is, and where."""

    name: str
    count: int
    meaning: str
    places: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRow:
    """A kernel as a table row."""

    number: int
    kind: str
    types: str
    computes: str
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelsView:
    """One engine's kernels; ``reason`` says why there are none, and is empty otherwise."""

    engine: str
    source: str
    reason: str
    said: str = ""
    figures: tuple[Figure, ...] = ()
    cells: tuple[Cell, ...] = ()
    findings: tuple[FindingRow, ...] = ()
    rows: tuple[KernelRow, ...] = ()
    notes: tuple[str, ...] = ()


def views(data: ReportData) -> tuple[KernelsView, ...]:
    """Return the views of all engines whose builder named its kernels."""
    return tuple(_view(engine) for engine in data.fused)


def _view(engine: FusedEngine) -> KernelsView:
    report = engine.report
    totals = report.totals
    if totals is None:
        return KernelsView(engine=engine.name, source=report.source, reason=report.reason)
    marks = wording.marks(report)
    return KernelsView(
        engine=engine.name,
        source=report.source,
        reason="",
        said=f"{totals.kernels} kernels in order, {totals.extra_kernels} of them compute nothing",
        figures=tuple(_figures(report, totals)),
        cells=tuple(_cells(report.launched, marks)),
        findings=tuple(
            FindingRow(
                name=group.kind,
                count=group.count,
                meaning=group.meaning,
                places=group.shown(_SHOWN_PLACES),
            )
            for group in wording.groups(report)
        ),
        rows=tuple(
            KernelRow(
                number=number,
                kind=kernel.kind,
                types=_types(kernel),
                computes=wording.computes(kernel),
                finding=marks.get(kernel.name, ""),
            )
            for number, kernel in enumerate(report.launched, 1)
        ),
        notes=report.notes,
    )


def _figures(report: FusionReport, totals: FusionTotals) -> Iterator[Figure]:
    yield Figure(name="kernels", value=str(totals.kernels), beside=wording.kinds(totals))
    if totals.activated is not None:
        untold = f"; {totals.untold} nodes not named" if totals.untold else ""
        yield Figure(
            name="activations fused",
            value=f"{totals.fused} of {totals.activated}",
            beside=f"in the kernel of their convolution{untold}",
        )
    yield Figure(
        name="unfused Q and DQ",
        value=str(totals.unfused_pairs),
        beside="in kernels that do nothing else",
    )
    yield Figure(
        name="extra kernels", value=str(totals.extra_kernels), beside=wording.extras(report)
    )


def _cells(kernels: tuple[Kernel, ...], found: dict[str, FindingKind]) -> Iterator[Cell]:
    width = _FULL / len(kernels)
    for index, kernel in enumerate(kernels):
        finding = found.get(kernel.name)
        yield Cell(
            at=round(index * width, 3),
            width=round(width, 3),
            kind=_kind(kernel, finding),
            said=f"{wording.computes(kernel)}: {_types(kernel)}"
            + (f", {finding}" if finding else ""),
        )


def _kind(kernel: Kernel, finding: FindingKind | None) -> Kind:
    if finding in EXTRA:
        return "failed"
    if finding == "activation apart":
        return "baseline"
    multiplies = kernel.constants > 0 and any(each in _PRODUCTS for each in kernel.operators)
    return "subject" if multiplies else "engine"


def _types(kernel: Kernel) -> str:
    return f"{' + '.join(kernel.reads)} → {' + '.join(kernel.writes)}"
