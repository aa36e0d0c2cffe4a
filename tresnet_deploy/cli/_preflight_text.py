"""What ``preflight`` prints for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tresnet_deploy.cli._tables import table
from tresnet_deploy.errors import GateError
from tresnet_deploy.hints import quoted
from tresnet_deploy.preflight import OF_RTX, Finding, PreflightReport, RuleList, Severity

_SHOWN_NODES = 3
_WIDTH = 100
_INDENT = " " * 9  # under the id of the rule


def report_text(report: PreflightReport) -> str:
    """Return all findings with their remedies, and what was looked at."""
    lines = [line for finding in report.findings for line in (*_finding(finding), "")]
    parser = report.parser
    word = {"takes it": "takes the graph", "refuses it": "refuses the graph"}.get(
        parser.state, parser.state
    )
    said = ": ".join(filter(None, (word, parser.message)))
    lines += [
        f"{report.path}: {_counted(report)} found by {len(report.rules)} rules",
        f"GPUs     compute capability {', '.join(report.targets)}",
        f"parser   {' '.join(filter(None, (parser.runtime, said)))}",
    ]
    return "\n".join(lines)


def rules_text(rules: RuleList) -> str:
    """Return one line for each rule."""
    return table(("rule", "severity", "what"), [(r.rule, r.severity, r.title) for r in rules.rules])


def failure(report: PreflightReport) -> GateError:
    """Return the findings as the error that ends the command."""
    first = report.findings[0]
    return GateError(f"preflight found {_counted(report)} in {report.path}", hints=(first.remedy,))


def next_command(report: PreflightReport, asked: tuple[str, ...]) -> str:
    """Return the build that the report speaks for; ``asked`` are the GPUs that were named."""
    build = f"tresnet-deploy build-engine {quoted(report.path)}"
    of_rtx = set(map(str, OF_RTX))
    if not of_rtx.issuperset(report.targets):
        return f"{build} --backend tensorrt, on such a GPU"
    named = "".join(f" --compute-capability {each}" for each in dict.fromkeys(asked))
    return f"{build} --backend tensorrt-rtx{named}"


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{finding.severity.ljust(7)}  {finding.rule}  {finding.title}"
    shown = ", ".join(finding.nodes[:_SHOWN_NODES])
    more = len(finding.nodes) - _SHOWN_NODES
    where = f": {shown}" + (f" and {more} more" if more > 0 else "") if shown else ""
    yield from _wrapped(f"{finding.message}{where}")
    yield from _wrapped(f"remedy: {finding.remedy}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _counted(report: PreflightReport) -> str:
    parts = [_number(report.count("error"), "error"), _number(report.count("warning"), "warning")]
    return " and ".join(filter(None, parts)) or "nothing"


def _number(count: int, what: Severity) -> str:
    return "" if not count else f"1 {what}" if count == 1 else f"{count} {what}s"
