"""What this machine can do: runtimes, precisions, room for files, and the remedy for each gap."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Final

from tresnet_deploy import environment, weights
from tresnet_deploy.contracts import Probe
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.inspection.reports import BackendState, MachineReport
from tresnet_deploy.registry import BACKENDS

_GIB: Final = 2**30
# Packages that only some steps need, the step, and what brings them.
_OPTIONAL: Final = (
    ("torch", "export, and comparing with eager PyTorch", "pip install 'tresnet-deploy[pytorch]'"),
    ("onnxscript", "export", "pip install 'tresnet-deploy[pytorch]'"),
    ("safetensors", "reading checkpoints", "pip install 'tresnet-deploy[pytorch]'"),
    ("huggingface_hub", "weights by name", "pip install 'tresnet-deploy[pytorch]'"),
    ("inplace_abn", "training with InPlace-ABN", "make abn"),
)


def examine(folder: Path) -> MachineReport:
    """Return what this machine has; ``folder`` is where artefacts would be written."""
    return MachineReport(
        environment=environment.describe(),
        folders=_folders(folder),
        backends=tuple(probe(name) for name in BACKENDS.names()),
        missing={
            f"{package} ({use})": remedy
            for package, use, remedy in _OPTIONAL
            if importlib.util.find_spec(package) is None
        },
    )


def probe(name: str) -> BackendState:
    """Return whether the backend called ``name`` builds and runs here; never raises."""
    try:
        found: Probe = BACKENDS.load(name).probe()
    except UnavailableError as error:
        return BackendState(
            name=name,
            probe=Probe(usable=False, reason=error.message),
            remedy=error.hints[0] if error.hints else "",
        )
    except UsageError as error:
        return BackendState(name=name, probe=Probe(usable=False, reason=error.message))
    return BackendState(name=name, probe=found)


def _folders(output: Path) -> dict[str, str]:
    cache = weights.cache_folder()
    rooms = {"artefacts": _room(output)}
    return rooms if cache is None else rooms | {"downloaded weights": _room(cache)}


def _room(folder: Path) -> str:
    """Return the folder with its free space and whether it can be written."""
    nearest = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    free_gib = shutil.disk_usage(nearest).free / _GIB
    writable = "" if os.access(nearest, os.W_OK) else ", not writable"
    return f"{folder} ({free_gib:.1f} GiB free{writable})"
