"""Texts of a real builder, shortened to the stem, a block of each kind and the head."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tresnet_deploy.fusions import GraphFacts

HERE = Path(__file__).parent
CALL = "node_{} | layer2.0.blur/BlurPool2d (BlurPool2d)"


def golden(precision: str) -> str:
    """Return what TensorRT-RTX 1.7.1 said of the demo network."""
    return (HERE / f"rtx_1_7_{precision}.txt").read_text("utf-8")


@pytest.fixture(params=["fp16", "int8"])
def text(request: pytest.FixtureRequest) -> str:
    return golden(request.param)


def facts(text: str) -> GraphFacts:
    """Return what the demo's graph says of the nodes in ``text``: names end with the operator."""
    names = set(re.findall(r"\[ONNX Layer: (.*?)\]", text))
    operators = {name: name.rpartition("/")[2] for name in names if " | " not in name}
    operators |= {CALL.format("Pad_1"): "Pad", CALL.format("Conv_2"): "Conv"}
    activations = {
        name: name.replace(".conv/Conv", ".activation/LeakyRelu")
        for name in names
        if name.replace(".conv/Conv", ".activation/LeakyRelu") in names - {name}
    }
    return GraphFacts(operators=operators, activations=activations)
