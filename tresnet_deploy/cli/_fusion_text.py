"""The kernels of an engine for people."""

from __future__ import annotations

from collections.abc import Iterator

from tresnet_deploy.cli._tables import table
from tresnet_deploy.fusions import FusionReport, FusionTotals, wording

_SHOWN_PLACES = 3


def fusion_text(report: FusionReport, *, kernels: bool = False) -> str:
    """Return the totals and the findings, and with ``kernels`` each kernel."""
    totals = report.totals
    if totals is None:
        return f"Kernels\n\nnot known: {report.reason}"
    parts = [f"Kernels, by the {report.source}", _facts(report, totals)]
    if report.findings:
        parts.append("\n".join(_findings(report)))
    parts += [f"note: {note}" for note in report.notes]
    if kernels:
        heads = ("#", "type", "reads", "writes", "finding", "computes")
        parts.append(table(heads, _kernels(report)))
    return "\n\n".join(parts)


def _facts(report: FusionReport, totals: FusionTotals) -> str:
    untold = f"; {totals.untold} nodes not named" if totals.untold else ""
    extras = wording.extras(report)
    pairs = {
        "kernels": f"{totals.kernels} ({wording.kinds(totals)})",
        "activations": f"{totals.fused} of {totals.activated} with their convolution{untold}",
        "unfused Q, DQ": str(totals.unfused_pairs),
        "extra kernels": f"{totals.extra_kernels} ({extras})" if extras else "0",
    }
    if totals.activated is None:
        del pairs["activations"]
    width = max(map(len, pairs))
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in pairs.items())


def _findings(report: FusionReport) -> Iterator[str]:
    """Give two lines a kind: how many and what it is, and where."""
    width = max(len(finding.kind) for finding in report.findings)
    for group in wording.groups(report):
        yield f"{group.kind.ljust(width)}  {group.count:4}  {group.meaning}"
        yield f"{' ' * (width + 8)}{group.shown(_SHOWN_PLACES)}"


def _kernels(report: FusionReport) -> Iterator[tuple[str, ...]]:
    marks = wording.marks(report)
    for number, kernel in enumerate(report.launched, 1):
        yield (
            str(number),
            kernel.kind,
            "+".join(kernel.reads),
            "+".join(kernel.writes),
            marks.get(kernel.name, ""),
            wording.computes(kernel),
        )
