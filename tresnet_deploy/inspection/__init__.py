"""What a file is and what a machine can do, for people and as data.

    inspect(path) -> CheckpointReport | GraphReport | EngineReport        examine() -> MachineReport

Engines and ONNX files are read without PyTorch; nothing in a file is executed.
"""

from tresnet_deploy.inspection.engines import verdict_of
from tresnet_deploy.inspection.files import inspect
from tresnet_deploy.inspection.machine import examine
from tresnet_deploy.inspection.reports import (
    BackendState,
    CheckpointReport,
    EngineReport,
    FileReport,
    FunctionCount,
    GraphReport,
    MachineReport,
    OperatorCount,
    ParentState,
    Verdict,
)

__all__ = [
    "BackendState",
    "CheckpointReport",
    "EngineReport",
    "FileReport",
    "FunctionCount",
    "GraphReport",
    "MachineReport",
    "OperatorCount",
    "ParentState",
    "Verdict",
    "examine",
    "inspect",
    "verdict_of",
]
