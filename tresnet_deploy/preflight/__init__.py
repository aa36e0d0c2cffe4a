"""Preflight: this room is about what stops or spoils a TensorRT build, told before it starts.

    ONNX file --static rules, parser's check--> PreflightReport

The static rules need no TensorRT, and neither they nor the parser's check need a GPU. Ids are
stable: a rule keeps its id and its meaning, and the id of a rule that is gone is not used again.
"""

from tresnet_deploy.preflight.catalogue import rule_list
from tresnet_deploy.preflight.checking import check
from tresnet_deploy.preflight.reports import (
    Finding,
    ParserCheck,
    PreflightReport,
    RuleEntry,
    RuleList,
    Severity,
)
from tresnet_deploy.preflight.targets import OF_RTX, PORTABLE, Capability, parse

__all__ = [
    "OF_RTX",
    "PORTABLE",
    "Capability",
    "Finding",
    "ParserCheck",
    "PreflightReport",
    "RuleEntry",
    "RuleList",
    "Severity",
    "check",
    "parse",
    "rule_list",
]
