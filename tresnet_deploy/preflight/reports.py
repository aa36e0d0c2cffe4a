"""What a preflight returns: findings by rule, and how far it could look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tresnet_deploy.contracts import SCHEMA_VERSION

Severity = Literal["error", "warning"]
"""``error``: the build fails or the engine computes something else; ``warning``: it costs."""

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault of a graph. ``nodes`` are the nodes or tensors that show it, all of them."""

    rule: str
    severity: Severity
    title: str
    message: str
    nodes: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserCheck:
    """What a runtime's own parser said; ``state`` "not asked" carries the reason in ``message``."""

    state: Literal["takes it", "refuses it", "broke", "not asked"]
    runtime: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightReport:
    """All findings on one file, errors first; ``targets`` are compute capabilities."""

    path: str
    sha256: str
    targets: tuple[str, ...]
    findings: tuple[Finding, ...]
    rules: tuple[str, ...]
    parser: ParserCheck
    schema_version: int = SCHEMA_VERSION

    def count(self, severity: Severity) -> int:
        """Return how many findings are of ``severity``."""
        return sum(finding.severity == severity for finding in self.findings)

    def fails(self, least: Severity | Literal["never"]) -> bool:
        """Return whether a finding is at least as severe as ``least``."""
        if least == "never":
            return False
        severe = SEVERITIES[: SEVERITIES.index(least) + 1]
        return any(finding.severity in severe for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEntry:
    """A rule as the list of rules shows it."""

    rule: str
    severity: Severity
    title: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleList:
    """All rules, in the order of their ids."""

    rules: tuple[RuleEntry, ...]
    schema_version: int = SCHEMA_VERSION
