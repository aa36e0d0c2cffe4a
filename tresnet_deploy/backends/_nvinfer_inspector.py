"""The engine inspector: what a runtime on a GPU tells of an engine's kernels, as JSON.

TensorRT-RTX tells it in its log while it builds, without a GPU; TensorRT is asked here, in the
process that has just built the plan. Not run on a GPU yet.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


def layers_of(runtime: ModuleType, log: Any, plan: Any) -> str | None:
    """Return the inspector's JSON on ``plan``, None where the runtime does not load or tell it.

    ``plan`` must have been built here: loading one runs native code.
    """
    loader = runtime.Runtime(log)  # held by name: an engine must not outlive it
    engine = loader.deserialize_cuda_engine(plan)
    if engine is None:
        return None
    inspector = engine.create_engine_inspector()
    told = inspector.get_engine_information(runtime.LayerInformationFormat.JSON)
    return told or None
