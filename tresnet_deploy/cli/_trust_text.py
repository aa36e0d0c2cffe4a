"""What ``check-engine`` prints for people: each finding, and the verdict with its reasons."""

from __future__ import annotations

from tresnet_deploy.cli._inspection_text import facts
from tresnet_deploy.errors import GateError
from tresnet_deploy.trust import TrustReport

_MARKS = {"ok": "", "note": "note: ", "unknown": "cannot tell: ", "bad": "NO: "}


def text(report: TrustReport) -> str:
    """Return one finding a line, then the verdict."""
    lines = facts((each.check, _MARKS[each.outcome] + each.detail) for each in report.findings)
    return f"{lines}\n\n{report.path}: {report.verdict}"


def refusal(report: TrustReport) -> GateError:
    """Return the error that a verdict other than "compatible" ends with."""
    return GateError(
        f"{report.path}: {report.verdict}: {'; '.join(report.reasons)}", hints=(report.rebuild,)
    )
