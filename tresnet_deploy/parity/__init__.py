"""Proof that a deployed model still answers as its weights do, stage by stage.

    engines --opened--> reference, stages --compare(images)--> ParityReport     (prove: all of it)

The report says where accuracy went. Polygraphy runs the stages side by side (runs); agreement,
flips and accuracy are measured and judged here (verdicts, gates).
"""

from tresnet_deploy.parity.comparing import Settings, compare
from tresnet_deploy.parity.gates import DEFAULTS, Bounds, Overrides, told
from tresnet_deploy.parity.lineage import Lineage, opened
from tresnet_deploy.parity.proof import DETAILS, REPORT, prove
from tresnet_deploy.parity.runs import Stage

__all__ = [
    "DEFAULTS",
    "DETAILS",
    "REPORT",
    "Bounds",
    "Lineage",
    "Overrides",
    "Settings",
    "Stage",
    "compare",
    "opened",
    "prove",
    "told",
]
