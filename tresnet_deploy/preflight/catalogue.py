"""All rules in the order of their ids, and the two that stand for the parser."""

from __future__ import annotations

from typing import Final

from tresnet_deploy.preflight.reports import RuleEntry, RuleList
from tresnet_deploy.preflight.rules import files, operators, quantization, shapes, types, values
from tresnet_deploy.preflight.rules._rule import Rule

RULES: Final[tuple[Rule, ...]] = (
    *files.RULES,
    *operators.RULES,
    *types.RULES,
    *shapes.RULES,
    *quantization.RULES,
    *values.RULES,
)
REFUSED: Final = RuleEntry(
    rule="TRT090",
    severity="error",
    title="refused by the parser",
    remedy="replace the operator, or export it in another way; the parser's own words say which",
)
BROKE: Final = RuleEntry(
    rule="TRT091",
    severity="error",
    title="the parser broke",
    remedy="report the graph to NVIDIA; try an older opset: tresnet-deploy export --opset 18",
)


def rule_list() -> RuleList:
    """Return all rules as data."""
    entries = (
        RuleEntry(rule=each.id, severity=each.severity, title=each.title, remedy=each.remedy)
        for each in RULES
    )
    return RuleList(rules=(*entries, REFUSED, BROKE))
