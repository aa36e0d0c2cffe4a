"""The kernels of an engine for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tresnet_deploy.cli._tables import table
from tresnet_deploy.fusions import (
    EXTRA,
    MEANINGS,
    FindingKind,
    FusionReport,
    FusionTotals,
    computes,
    place_of,
)

_SHOWN_PLACES = 3


def fusion_text(report: FusionReport, *, kernels: bool = False) -> str:
    """Return the totals and the findings, and with ``kernels`` each kernel."""
    totals = report.totals
    if totals is None:
        return f"Kernels\n\nnot known: {report.reason}"
    parts = [
        f"Kernels, by the {report.source}",
        _facts(report, totals),
    ]
    if report.findings:
        parts.append("\n".join(_findings(report)))
    parts += [f"note: {note}" for note in report.notes]
    if kernels:
        heads = ("#", "type", "reads", "writes", "finding", "computes")
        parts.append(table(heads, _kernels(report)))
    return "\n\n".join(parts)


def _facts(report: FusionReport, totals: FusionTotals) -> str:
    extra = ((kind, len(report.of(kind))) for kind in EXTRA)
    listed = _counts((kind, count) for kind, count in extra if count)
    untold = f"; {totals.untold} nodes not named" if totals.untold else ""
    pairs = {
        "kernels": f"{totals.kernels} ({_counts(totals.kinds.items())})",
        "activations": f"{totals.fused} of {totals.activated} with their convolution{untold}",
        "unfused Q, DQ": str(totals.unfused_pairs),
        "extra kernels": f"{totals.extra_kernels} ({listed})" if listed else "0",
    }
    if totals.activated is None:
        del pairs["activations"]
    width = max(map(len, pairs))
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in pairs.items())


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in pairs)


def _findings(report: FusionReport) -> Iterator[str]:
    """Give two lines a kind: how many and what it is, and where."""
    width = max(len(finding.kind) for finding in report.findings)
    for kind, meaning in MEANINGS.items():
        found = report.of(kind)
        if not found:
            continue
        yield f"{kind.ljust(width)}  {len(found):4}  {meaning}"
        places = list(dict.fromkeys(place_of(each) for each in found))
        more = ", ..." if len(places) > _SHOWN_PLACES else ""
        yield f"{' ' * (width + 8)}{', '.join(places[:_SHOWN_PLACES])}{more}"


def _kernels(report: FusionReport) -> Iterator[tuple[str, ...]]:
    found: dict[str, FindingKind] = {}
    for finding in report.findings:
        found.setdefault(finding.kernel, finding.kind)
    for number, kernel in enumerate(report.kernels):
        if kernel.inputs or kernel.outputs:  # else it is a helper on the host
            yield (
                str(number),
                kernel.kind,
                "+".join(kernel.reads),
                "+".join(kernel.writes),
                found.get(kernel.name, ""),
                computes(kernel),
            )
