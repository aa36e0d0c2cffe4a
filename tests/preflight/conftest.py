"""Tiny graphs as ONNX text, and what the static rules find in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from tresnet_deploy import quantize
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.images import demo_images
from tresnet_deploy.preflight import PORTABLE, Capability, Finding
from tresnet_deploy.preflight.checking import findings_of
from tresnet_deploy.preflight.subject import prepared

HEADER = '<ir_version: 10, opset_import: ["" : {opset}]> net '


def graph(text: str, *, opset: int = 18, weights: Mapping[str, object] | None = None) -> ir.Model:
    """Return the graph of ``text`` with further ``weights``."""
    proto = onnx.parser.parse_model(HEADER.format(opset=opset) + text)
    for name, value in (weights or {}).items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return ir.from_proto(proto)


def findings(model: ir.Model, targets: Sequence[Capability] = PORTABLE) -> tuple[Finding, ...]:
    """Return what the static rules hold against ``model``."""
    return tuple(findings_of(prepared(model, path=Path("net.onnx"), targets=tuple(targets))))


@pytest.fixture(scope="session")
def demo_half(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The demo network in FP16."""
    folder = tmp_path_factory.mktemp("demo_half")
    return quantize.convert(demo_graph, folder / "tresnet.fp16.onnx", precision="fp16")


@pytest.fixture(scope="session")
def demo_all_int8(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The demo network with every layer quantised, which nobody is advised to do."""
    return quantize.quantize(
        demo_graph,
        tmp_path_factory.mktemp("demo_all") / "tresnet.int8.onnx",
        images=demo_images("calibration"),
        options=quantize.QuantizeOptions(samples=8, quantize_all=True),
    )
