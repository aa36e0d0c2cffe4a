"""Graphs in ONNX text with given weights, and whole tiny networks in float64."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnx.inliner
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from tresnet import create
from tresnet.architecture import Architecture, Head
from tresnet.deploy_form import deploy_form
from tresnet.layers import ActivatedNorm
from tresnet_deploy import tracing
from tresnet_deploy.contracts import Preprocess
from tresnet_deploy.eager import Deployed

Arrays = npt.NDArray[np.float64]
SIDE_PX = 32
STEP = np.float32(0.05)  # of the activations of bytes_to_floats


def parsed(text: str, **weights: npt.ArrayLike) -> ir.Model:
    """Return the model of ``text``, of one graph, with ``weights`` as its initializers."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18, "tresnet": 1]> {text}'
    )
    for name, value in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def evaluated(model: ir.Model, images: Arrays) -> Arrays:
    """Return the only output of ``model``, by onnx's reference evaluator."""
    (name,) = (value.name for value in model.graph.inputs)
    # Inlined: the evaluator hands no attribute of a function on to its LeakyRelu.
    proto = onnx.inliner.inline_local_functions(ir.to_proto(model))
    (result,) = ReferenceEvaluator(proto).run(None, {name: images})
    return np.asarray(result)


def answered(model: ir.Model, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the only output of ``model``, by ONNX Runtime without rewrites of its own."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    (result,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(result)


def copied(model: ir.Model) -> ir.Model:
    """Return a copy that shares nothing with ``model``."""
    return ir.from_proto(ir.to_proto(model))


def bytes_to_floats(shape: str, body: str, output: str, **weights: npt.ArrayLike) -> ir.Model:
    """Return a graph that rounds ``x`` of ``shape`` to the values ``d``, of steps ``s``, first.

    They are uint8 from ``z`` on, 128 unless given; the zero points ``zero`` and ``none`` are 0.
    """
    weights = {"s": STEP, "z": np.uint8(128), "zero": np.uint8(0), "none": np.int8(0), **weights}
    start = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"
    model = parsed(f"g (float[{shape}] x) => ({output}) {{ {start} {body} }}", **weights)
    model.opset_imports[""] = 19  # the first of which ONNX's reference evaluator can dequantise
    return model


def operators(model: ir.Model) -> list[str]:
    """Return the operators of ``model`` in order."""
    return [node.op_type for node in model.graph]


def noise(*shape: int, seed: int = 0) -> Arrays:
    """Return seeded noise around zero."""
    return np.random.default_rng(seed).normal(size=shape)


def _in_float64(model: ir.Model) -> ir.Model:
    proto = ir.to_proto(model)
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            wide = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    graph = proto.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return ir.from_proto(proto)


def _network(architecture: Architecture, *, dynamic_size: bool = False) -> ir.Model:
    torch.manual_seed(0)
    model = create(architecture, norm="batchnorm").eval()
    for norm in model.modules():
        if isinstance(norm, ActivatedNorm):
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    plan = tracing.InputPlan(
        layout="float32-nchw",
        height_px=SIDE_PX,
        width_px=SIDE_PX,
        batch=None,
        dynamic_size=dynamic_size,
    )
    wrapped = Deployed(deploy_form(model), Preprocess()).eval()
    return _in_float64(tracing.trace(wrapped, plan, output="logits", opset=18))


NETWORKS: Mapping[str, Callable[[], ir.Model]] = {
    "basic": lambda: _network(
        Architecture(width=6, depths=(1, 1, 1, 1), head=Head.with_bottleneck(5, bottleneck=7))
    ),
    "decoder": lambda: _network(
        Architecture(
            width=4,
            depths=(1, 1, 1, 1),
            family="v2",
            activation="frelu",
            head=Head.ml_decoder(9, groups=4, embedding=16, hidden=24),
        )
    ),
}


@pytest.fixture(scope="session", params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest) -> ir.Model:
    """A tiny network of each kind in float64, traced once; tests work on copies."""
    return NETWORKS[request.param]()


@pytest.fixture(scope="session")
def images() -> Arrays:
    """Two images for :func:`network`."""
    return np.random.default_rng(0).random((2, 3, SIDE_PX, SIDE_PX))
