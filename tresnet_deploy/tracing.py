"""From an eager network to an ONNX graph: this file is about what torch's exporter needs from us.

The exporter takes a copy whose SpaceToDepth and BlurPool2d are stand-ins that leave one node each;
their meaning is added afterwards as model-local functions. Nodes are named after their modules.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import onnx_ir as ir
import torch
from torch import Tensor, nn

from tresnet.architecture import COLOURS, SPACE_TO_DEPTH_BLOCK
from tresnet.layers import BlurPool2d, SpaceToDepth
from tresnet_deploy.contracts import Layout
from tresnet_deploy.errors import ExportError
from tresnet_deploy.plugins import DOMAIN, VERSION
from tresnet_deploy.registry import OPERATORS

INPUT: Final = "images"
NETWORK: Final = "network"
"""Under this name the wrapper holds the network; the prefix is taken off all names in the graph."""

_TRACED_BATCH: Final = 2  # torch.export takes 0 and 1 for constants
_SCOPES: Final = "pkg.torch.onnx.name_scopes"
_NO_SCOPE: Final = "_empty_nn_module_stack"  # what torch writes for shape arithmetic
_CHATTY: Final = (
    "torch.onnx._internal.exporter._registration",  # misses torchvision, which is not needed
    "onnxscript.optimizer._constant_folding",  # tells what it leaves; passes/ deals with that
)
_AXES: Final[dict[Layout, tuple[int, int]]] = {"float32-nchw": (2, 3), "uint8-nhwc": (1, 2)}
"""Which axes of the input are height and width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPlan:
    """The graph's input: ``batch`` None is symbolic, and so are height and width on request."""

    layout: Layout
    height_px: int
    width_px: int
    batch: int | None
    dynamic_size: bool

    def example(self) -> Tensor:
        """Return an input to trace with; only its shape and type matter."""
        n = self.batch or _TRACED_BATCH
        if self.layout == "uint8-nhwc":
            shape = (n, self.height_px, self.width_px, COLOURS)
            return torch.zeros(shape, dtype=torch.uint8)
        return torch.zeros(n, COLOURS, self.height_px, self.width_px)

    def names(self) -> dict[int, str]:
        """Return the symbolic dimensions of the graph's input by axis."""
        names = {} if self.batch is not None else {0: "batch"}
        if self.dynamic_size:
            height, width = _AXES[self.layout]
            names |= {height: "height", width: "width"}
        return names


class _SymbolicSpaceToDepth(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        b = SPACE_TO_DEPTH_BLOCK
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::SpaceToDepth",
            (x,),
            attrs={"blocksize": b},
            dtype=x.dtype,
            shape=(n, b * b * c, h // b, w // b),
            version=VERSION,
        )


class _SymbolicBlurPool2d(nn.Module):
    filter: Tensor

    def __init__(self, original: BlurPool2d) -> None:
        super().__init__()
        self.channels = original.channels
        self.register_buffer("filter", original.filter)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::BlurPool2d",
            (x, self.filter),
            attrs={"group": self.channels},
            dtype=x.dtype,
            shape=(n, c, (h + 1) // 2, (w + 1) // 2),
            version=VERSION,
        )


def _attention(
    query: ir.Value, key: ir.Value, value: ir.Value, *_unused: object, **_defaults: object
) -> ir.Value:
    """Write attention as products and a softmax: torch's own translation adds shape arithmetic.

    The ML-Decoder head calls it with these three arguments and the default scale.
    """
    import onnxscript

    op: Any = onnxscript.opset18  # its type hints are for functions that it compiles
    assert query.shape is not None
    assert isinstance(query.shape[-1], int)
    scale = op.Constant(value_float=query.shape[-1] ** -0.5)
    scores = op.MatMul(op.Mul(query, scale), op.Transpose(key, perm=[0, 1, 3, 2]))
    result: ir.Value = op.MatMul(op.Softmax(scores, axis=-1), value)
    return result


def trace(model: nn.Module, plan: InputPlan, *, output: str, opset: int) -> ir.Model:
    """Return ``model`` as a graph; ``model`` is used up: its layers are replaced.

    Raises:
        ExportError: torch refuses, writes another opset, or freezes a dimension meant to vary.
    """
    model.requires_grad_(requires_grad=False)
    _substitute(model)
    with _quiet_exporter():
        try:
            program = torch.onnx.export(
                model,
                (plan.example(),),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[output],
                dynamic_shapes=(_dynamic_shapes(plan),),
                custom_translation_table={
                    torch.ops.aten.scaled_dot_product_attention.default: _attention
                },
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            cause = str(error.__cause__ or error).strip().partition("\n")[0]
            raise ExportError(f"torch.onnx.export failed: {cause}") from error
    assert program is not None
    graph_model = program.model
    _check_opset(graph_model, opset)
    _check_dimensions(graph_model, plan)
    _add_functions(graph_model, opset)
    _rename(graph_model)
    _name_sides(graph_model, plan)
    return graph_model


def _substitute(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, SpaceToDepth):
                setattr(parent, name, _SymbolicSpaceToDepth())
            elif isinstance(child, BlurPool2d):
                setattr(parent, name, _SymbolicBlurPool2d(child))


def _dynamic_shapes(plan: InputPlan) -> dict[int, object]:
    axes: dict[int, object] = {}
    for axis, name in plan.names().items():
        dimension = torch.export.Dim(name)
        # Sides are multiples of the block: said here, since the exporter cannot prove it later.
        axes[axis] = dimension if axis == 0 else SPACE_TO_DEPTH_BLOCK * dimension
    return axes


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep what the exporter says about itself off the user's terminal."""
    logs = [logging.getLogger(name) for name in _CHATTY]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 copies its own pytree specs in a way that it has deprecated.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _check_opset(model: ir.Model, opset: int) -> None:
    written = model.opset_imports[""]
    if written != opset:
        raise ExportError(
            f"torch wrote opset {written} instead of {opset}", hints=(f"--opset {written}",)
        )


def _check_dimensions(model: ir.Model, plan: InputPlan) -> None:
    """Refuse a graph in which a symbolic dimension was frozen, which torch does without a word."""
    (value,) = model.graph.inputs
    assert value.shape is not None
    names = plan.names()
    for axis, size in enumerate(value.shape):
        if isinstance(size, int) == (axis in names):
            wanted = f"symbolic ({names[axis]})" if axis in names else "fixed"
            raise ExportError(
                f"axis {axis} of the graph's input came out as {size}, but must be {wanted}: an "
                "operator of this network depends on its value"
            )
    (result,) = model.graph.outputs
    assert result.shape is not None
    if isinstance(result.shape[0], int) != (plan.batch is not None):
        raise ExportError(f"the batch of the graph's output came out as {result.shape[0]}")


def _add_functions(model: ir.Model, opset: int) -> None:
    """Give each node of our domain its meaning."""
    used = {node.op_type for node in model.graph if node.domain == DOMAIN}
    for name in OPERATORS.names():
        operator = OPERATORS.load(name)
        if operator.OP_TYPE in used:
            function = operator.onnx_function(opset)
            model.functions[function.identifier()] = function


def _rename(model: ir.Model) -> None:
    """Name nodes and their outputs ``module/Operator`` and drop the exporter's own metadata."""
    graph = model.graph
    taken: dict[str, int] = {}
    for node in graph:
        scoped = _scoped(node)
        taken[scoped] = taken.get(scoped, 0) + 1
        name = scoped if taken[scoped] == 1 else f"{scoped}_{taken[scoped]}"
        node.name = name
        for index, value in enumerate(node.outputs):
            if not value.is_graph_output():
                value.name = name if index == 0 else f"{name}:{index}"
    for value in list(graph.initializers.values()):
        assert value.name is not None
        if value.name.startswith(f"{NETWORK}."):
            value.name = value.name.removeprefix(f"{NETWORK}.")
        else:
            user, index = next(iter(value.uses()))
            value.name = f"{user.name}:in{index}"
    _drop_metadata(graph)


def _scoped(node: ir.Node) -> str:
    scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "['', '']"))
    scope = scopes[-2].removeprefix(NETWORK).removeprefix(".")
    return f"{scope}/{node.op_type}" if scope and _NO_SCOPE not in scope else node.op_type


def _drop_metadata(graph: ir.Graph) -> None:
    """Drop stack traces, which hold the paths of this machine."""
    values = [*graph.inputs, *graph.outputs, *graph.initializers.values()]
    for node in graph:
        node.metadata_props.clear()
        node.doc_string = None
        values.extend(node.outputs)
    for value in values:
        value.metadata_props.clear()
        value.doc_string = None
    graph.metadata_props.clear()
    graph.doc_string = None


def _name_sides(model: ir.Model, plan: InputPlan) -> None:
    """Call the input's sides height and width, and forget torch's own names inside the graph."""
    (images,) = model.graph.inputs
    sizes = dict(enumerate(images.shape or ()))
    images.shape = ir.Shape([plan.names().get(axis, size) for axis, size in sizes.items()])
    known = set(plan.names().values())
    for node in model.graph:
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape(
                    size if isinstance(size, int) or size.value in known else None
                    for size in value.shape
                )
