"""Whether an engine may be loaded: asked of its bytes, sidecar and header, never of the engine.

    path --examine--> TrustReport          artifact --check_before_loading--> nothing, or an error

Deserialising an engine runs native code on it, so every backend calls ``check_before_loading``
first. It holds for slips and for files of others; a sidecar that was forged together with its
engine is only told by whoever knows the right sha256.
"""

from tresnet_deploy.trust.checking import check_before_loading, examine
from tresnet_deploy.trust.files import beside
from tresnet_deploy.trust.headers import PlanHeader, read_header
from tresnet_deploy.trust.machine import Machine
from tresnet_deploy.trust.reports import Finding, TrustReport, Verdict

__all__ = [
    "Finding",
    "Machine",
    "PlanHeader",
    "TrustReport",
    "Verdict",
    "beside",
    "check_before_loading",
    "examine",
    "read_header",
]
