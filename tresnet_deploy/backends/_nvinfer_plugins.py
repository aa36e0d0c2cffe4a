"""Graphs that ask for our plugins: this file is about what that means to a build and to a load.

Not run on a GPU yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import ModuleType
from typing import Final

import onnx_ir as ir

from tresnet_deploy import plugins
from tresnet_deploy.backends._nvinfer_options import HardwareLevel, Operators
from tresnet_deploy.backends._nvinfer_request import Request
from tresnet_deploy.contracts import Artifact, Scalar
from tresnet_deploy.errors import UsageError
from tresnet_deploy.passes import plugin_operators
from tresnet_deploy.plugins import tensorrt_registration
from tresnet_deploy.plugins.kernels import nvrtc

_AMPERE: Final = 80
SETTING: Final = "build.plugins"
"""An engine's setting: how many of its nodes asked for a plugin; left out where none did."""


def asked_for(runtime: ModuleType, model: ir.Model, operators: Operators = "as-exported") -> int:
    """Return how many nodes of ``model`` ask for a plugin, once ``runtime`` can serve them.

    ``operators`` "plugin" makes all ask that can be served.

    Raises:
        UsageError: the runtime takes no plugins, or there is no node for them.
        UnavailableError: what compiles them is not installed.
    """
    if operators == "plugin":
        plugin_operators.apply(model)
    wanted = plugins.wanted_by(model)
    if operators == "plugin" and not wanted:
        raise UsageError(
            "operators=plugin finds none of our operators in this graph: it was exported with "
            "--operators inline or quantised with --quantize-all, which write standard ones",
            hints=("tresnet-deploy export --operators function",),
        )
    if wanted:
        plugins.refuse_on(runtime)
        nvrtc.find()
    return len(wanted)


def asking(request: Request, count: int) -> Request:
    """Return ``request`` for a graph in which so many nodes ask for a plugin."""
    return dataclasses.replace(request, plugins=count > 0)


def recorded(engine: Artifact, count: int) -> Artifact:
    """Return ``engine`` with the number of nodes that asked for a plugin."""
    if not count:
        return engine
    return dataclasses.replace(engine, settings={**engine.settings, SETTING: count})


def register(runtime: ModuleType, hardware: HardwareLevel = "none") -> int:
    """Register the plugins with this process, and return the flags that a network wants for them.

    Their code is for the GPU that is here and later ones, or for all that ``hardware`` promises.

    Raises:
        UnavailableError: no GPU to compile for.
    """
    tensorrt_registration.register(runtime, capability=_AMPERE if hardware == "ampere+" else None)
    # TensorRT refuses to choose between embedding a kernel and calling back into Python.
    prefers = runtime.NetworkDefinitionCreationFlag.__members__.get("PREFER_AOT_PYTHON_PLUGINS")
    return 0 if prefers is None else 1 << int(prefers)


def register_for_engine(runtime: ModuleType, settings: Mapping[str, Scalar]) -> None:
    """Register the plugins that an engine calls: none where the runtime embedded their kernels."""
    if settings.get(SETTING) and not tensorrt_registration.embeds(runtime):
        tensorrt_registration.register(runtime)
