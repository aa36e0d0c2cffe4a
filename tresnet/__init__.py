"""TResNet, the network itself: this package is about its layers, variants, weights and deploy form.

`tresnet.variants`, `tresnet.architecture` and `tresnet.errors` need no torch; the names below that
do are imported when first used, so that a machine which only runs engines can import this package.
Deploying starts at `tresnet.deploy_form.deploy_form`.
"""

import importlib
from typing import TYPE_CHECKING

from . import errors, variants

if TYPE_CHECKING:
    from .checkpoint import Checkpoint, load, load_state, save_miil
    from .model import TResNet, create

__all__ = [
    "Checkpoint",
    "TResNet",
    "create",
    "errors",
    "load",
    "load_state",
    "save_miil",
    "variants",
]

_HOME = {
    "Checkpoint": "checkpoint",
    "TResNet": "model",
    "create": "model",
    "load": "checkpoint",
    "load_state": "checkpoint",
    "save_miil": "checkpoint",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
