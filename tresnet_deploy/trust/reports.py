"""What checking an engine returns: the verdict, and each thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tresnet_deploy.contracts import SCHEMA_VERSION
from tresnet_deploy.trust.headers import PlanHeader

Verdict = Literal["compatible", "incompatible", "cannot tell"]
Outcome = Literal["ok", "note", "unknown", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    "note" is worth knowing and no obstacle, "unknown" could not be compared here, "bad" forbids
    loading. ``about`` says whose fault it is: the file's, or that of the pair of file and machine.
    """

    check: str
    outcome: Outcome
    detail: str
    about: Literal["file", "machine"] = "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustReport:
    """Whether the engine at ``path`` may be loaded on this machine, told without loading it.

    ``rebuild`` is the command that makes it anew. ``header`` is None for engines of CPUs.
    """

    path: str
    verdict: Verdict
    backend: str | None
    findings: tuple[Finding, ...]
    rebuild: str
    header: PlanHeader | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is not "compatible"; empty where it is."""
        wanted = {"incompatible": "bad", "cannot tell": "unknown"}.get(self.verdict)
        return tuple(each.detail for each in self.findings if each.outcome == wanted)
