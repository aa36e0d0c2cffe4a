"""Proof that a deployed model still answers as its weights do, stage by stage.

    lineage.opened(engine) -> reference, stages --compare(images)--> ParityReport

The report says where accuracy went. Polygraphy compares the tensors (runs); agreement, flips and
accuracy are measured and judged here (verdicts, gates).
"""

from tresnet_deploy.parity.comparing import Settings, compare
from tresnet_deploy.parity.gates import DEFAULTS, Bounds, Overrides
from tresnet_deploy.parity.runs import Stage

__all__ = ["DEFAULTS", "Bounds", "Overrides", "Settings", "Stage", "compare"]
