"""Our operators as TensorRT plugins: this file is about which of TensorRT's two ways is taken.

Not run on a GPU yet. ``quick`` (``tensorrt.plugin``, as TensorRT 11 has it) puts the kernels into
the engine, which then needs neither Python nor this package; ``version_3`` (``IPluginV3``) is for
runtimes without it, and its engines load only where it is registered again. The runtime comes as an
argument, and is told by what it has, never by its version.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from .. import refuse_on
from ..kernels import driver, nvrtc
from . import quick, version_3

__all__ = ["embeds", "register"]


def register(runtime: ModuleType, *, capability: int | None = None) -> tuple[str, ...]:
    """Register the plugins with ``runtime`` (``tensorrt``), once a process, and return their names.

    ``capability`` is that of the GPU to build for, such as 86; None asks the first GPU.

    Raises:
        UsageError: the runtime takes no plugins.
        UnavailableError: no driver to ask, or no NVRTC.
    """
    refuse_on(runtime)
    nvrtc.find()
    if not embeds(runtime):
        return version_3.register(runtime)
    target = driver.capability_of(0) if capability is None else capability
    module = importlib.import_module(f"{runtime.__name__}.plugin")
    return quick.register(module, capability=target)


def embeds(runtime: ModuleType) -> bool:
    """Return whether ``runtime`` takes kernels into its engines, which then need no plugin."""
    return hasattr(runtime, "QuickPluginCreationRequest")
