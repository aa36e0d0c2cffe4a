"""Tiny networks of each kind as float32 graphs, each traced once, and ranges to insert."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from tresnet import create
from tresnet.architecture import Architecture, Head
from tresnet.deploy_form import deploy_form
from tresnet.layers import ActivatedNorm
from tresnet_deploy import tracing
from tresnet_deploy.contracts import Array, Preprocess
from tresnet_deploy.eager import Deployed
from tresnet_deploy.precision.placement import observed

SIDE_PX = 32
EVALUATED_OPSET = 19  # the first whose DequantizeLinear onnx's reference evaluator has

ARCHITECTURES: Mapping[str, Architecture] = {
    "linear": Architecture(width=8, depths=(1, 2, 1, 1), head=Head.linear(5)),
    "decoder": Architecture(
        width=8,
        depths=(1, 1, 1, 1),
        family="v2",
        head=Head.ml_decoder(9, groups=4, embedding=16, hidden=24),
    ),
    "frelu": Architecture(width=8, depths=(1, 1, 1, 1), activation="frelu", head=Head.linear(5)),
}


def traced(architecture: Architecture) -> ir.Model:
    """Return the graph of a seeded network with gammas of either sign."""
    torch.manual_seed(0)
    model = create(architecture, norm="batchnorm").eval()
    for norm in model.modules():
        if isinstance(norm, ActivatedNorm):
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    plan = tracing.InputPlan(
        layout="float32-nchw", height_px=SIDE_PX, width_px=SIDE_PX, batch=None, dynamic_size=False
    )
    return tracing.trace(
        Deployed(deploy_form(model), Preprocess()).eval(), plan, output="logits", opset=18
    )


Network = Callable[[str], ir.Model]


@pytest.fixture(scope="session")
def network() -> Network:
    """Return a copy of the network of a kind, which a test may change."""
    kept: dict[str, onnx.ModelProto] = {}

    def copy(kind: str) -> ir.Model:
        if kind not in kept:
            kept[kind] = ir.to_proto(traced(ARCHITECTURES[kind]))
        return ir.from_proto(kept[kind])

    return copy


@pytest.fixture(scope="session")
def images() -> Array:
    """Two images for :func:`network`."""
    return np.random.default_rng(0).random((2, 3, SIDE_PX, SIDE_PX), dtype=np.float32)


def parsed(text: str, **weights: object) -> ir.Model:
    """Return the model of ``text``, of one graph, with ``weights`` as its initializers."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": {EVALUATED_OPSET}, "tresnet": 1]> {text}'
    )
    for name, value in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def evaluated(model: ir.Model, images: Array) -> Array:
    """Return the only output of ``model``, by onnx's reference evaluator."""
    proto = ir.to_proto(model)
    for entry in (*proto.opset_import, *(o for f in proto.functions for o in f.opset_import)):
        if entry.domain == "":
            entry.version = max(entry.version, EVALUATED_OPSET)
    (name,) = (value.name for value in model.graph.inputs)
    (result,) = ReferenceEvaluator(proto).run(None, {name: images})
    return np.asarray(result)


def ranges_of(model: ir.Model, images: Array) -> dict[str, float]:
    """Return amax of every observed tensor over ``images``."""
    names = observed(model.graph)
    proto = ir.to_proto(model)
    present = {value.name for value in (*proto.graph.output, *proto.graph.input)}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present)
    (given,) = (value.name for value in proto.graph.input)
    wanted = [name for name in names if name != given]
    found = ReferenceEvaluator(proto).run(wanted, {given: images})
    values = dict(zip(wanted, found, strict=True)) | {given: images}
    return {name: float(np.abs(values[name]).max()) for name in names}


def snr_db(found: Array, wanted: Array) -> float:
    """Return the signal-to-noise ratio of ``found``."""
    noise = np.square(found.astype(np.float64) - wanted).sum()
    return float(10 * np.log10(np.square(wanted.astype(np.float64)).sum() / noise))
