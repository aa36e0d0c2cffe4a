"""Which blocks and layers lose accuracy in INT8, measured piece by piece on a CPU.

    FP32 graph --prepare(calibration)--> Forms --measure(held-out images)--> SensitivityReport

A network is a chain of blocks with one tensor between two of them. So the two forms of each block,
float and INT8, are opened once as graphs of their own, and every mixture is another way through
them (chains): what lies before the block in question is not run again.
"""

from tresnet_deploy.int8_results import Basis, By, Effect, SensitivityReport
from tresnet_deploy.sensitivity.forms import Forms, Unit, chosen, expressions_of, prepare
from tresnet_deploy.sensitivity.measuring import measure
from tresnet_deploy.sensitivity.step import PAGE, REPORT, known, measured, sensitivity

__all__ = [
    "PAGE",
    "REPORT",
    "Basis",
    "By",
    "Effect",
    "Forms",
    "SensitivityReport",
    "Unit",
    "chosen",
    "expressions_of",
    "known",
    "measure",
    "measured",
    "prepare",
    "sensitivity",
]
