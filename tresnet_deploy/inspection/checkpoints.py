"""What a checkpoint holds, and what was decided about it and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tresnet.variants import VARIANTS
from tresnet_deploy import weights
from tresnet_deploy.inspection.reports import CheckpointReport
from tresnet_deploy.preprocess import from_rule

if TYPE_CHECKING:
    from torch import Tensor

    from tresnet.checkpoint import Checkpoint

_MIB: Final = 2**20


def inspect_checkpoint(path: Path, *, trust_pickle: bool = False) -> CheckpointReport:
    """Return what the checkpoint at ``path`` holds.

    Raises:
        UsageError: there is no such file.
        UnavailableError: PyTorch is missing.
        TResNetError: it is no TResNet's checkpoint, is damaged, or holds NaN or infinity.
    """
    source = weights.resolve(checkpoint=path, trust_pickle=trust_pickle)
    checkpoint = weights.load(source)
    architecture = checkpoint.architecture
    rows = [row.name for row in VARIANTS if row.matches(architecture)]
    gammas = _gammas(checkpoint)
    return CheckpointReport(
        path=str(path),
        size_mib=Path(source.location).stat().st_size / _MIB,
        sha256=source.sha256,
        layout=checkpoint.layout,
        wrapper=checkpoint.wrapper,
        prefix=checkpoint.prefix,
        ignored=checkpoint.ignored,
        architecture=architecture.summary,
        variant=rows[0] if rows else None,
        depths=architecture.depths,
        width=architecture.width,
        head=architecture.head.kind,
        classes=architecture.head.classes,
        class_names=checkpoint.class_names or (),
        parameters=sum(parameter.numel() for parameter in checkpoint.model.parameters()),
        gammas=checkpoint.gammas,
        gammas_reason=checkpoint.gammas_reason,
        negative_gammas=float((gammas < 0).float().mean()),
        zero_gammas=float((gammas == 0).float().mean()),
        slopes=(architecture.slopes.stem, architecture.slopes.block),
        slopes_reason=checkpoint.slopes_reason,
        preprocess=from_rule(checkpoint.input_rule),
        preprocess_reason=checkpoint.input_reason,
    )


def _gammas(checkpoint: Checkpoint) -> Tensor:
    """Return the stored weights of all norms as one vector."""
    import torch

    from tresnet.layers import ActivatedNorm

    norms = (norm for norm in checkpoint.model.modules() if isinstance(norm, ActivatedNorm))
    return torch.cat([norm.weight.detach() for norm in norms])
