"""Pad only the edges that a blur of stride two reads.

before:  x -> Pad reflect {1 pixel on all sides} -> Conv 3x3 {strides 2} -> y
after:   x -> Pad reflect {1 pixel above and left} -> Conv 3x3 {strides 2} -> y

With an even height the last window ends on the last row, so the row below is never read; the same
holds for the width. Left alone: odd sizes, which do read it, and sizes not known in the file.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _graph

_ALL_SIDES = (0, 0, 1, 1, 0, 0, 1, 1)
_ABOVE_AND_LEFT = (0, 0, 1, 1, 0, 0, 0, 0)
_KERNEL = (3, 3)
_STRIDES = (2, 2)
_NO_PADS = (0, 0, 0, 0)


def apply(model: ir.Model) -> Outcome:
    """Narrow every such Pad, in place; calls of ``tresnet::BlurPool2d`` are inlined before."""
    outcome = _graph.attempted([node for node in model.graph if _is_reflect_pad(node)], _narrow)
    _graph.drop_unused(model)
    return outcome


def _is_reflect_pad(node: ir.Node) -> bool:
    mode = node.attributes.get("mode")
    if node.op_type != "Pad" or mode is None or mode.as_string() != "reflect":
        return False
    pads = _graph.constant(node.inputs[1])
    return pads is not None and tuple(pads.tolist()) == _ALL_SIDES


def _narrow(pad: ir.Node) -> str | None:
    """Narrow ``pad``, or return why not."""
    conv = _graph.sole_user(pad.outputs[0])
    if conv is None or conv.op_type != "Conv":
        return "its only reader is not a convolution"
    weight = conv.inputs[1]
    kernel = tuple(weight.shape or ())[2:] if weight is not None else ()
    strides = _graph.ints(conv, "strides", (1, 1))
    if (kernel, strides, _graph.ints(conv, "pads", _NO_PADS)) != (_KERNEL, _STRIDES, _NO_PADS):
        return f"{_graph.name_of(conv)} is not an unpadded 3x3 convolution of stride 2"
    (x, *_), (y,) = pad.inputs, pad.outputs
    assert x is not None
    sides = tuple(x.shape or ())[2:]
    if not sides or not all(isinstance(side, int) for side in sides):
        return "its height and width are not known in the file"
    if any(side % 2 for side in sides if isinstance(side, int)):
        return f"an odd size, {sides[0]}x{sides[1]}, reads the last padded row or column"
    pads = np.array(_ABOVE_AND_LEFT, np.int64)
    _graph.set_constant(pad, 1, pads, name=f"{_graph.name_of(pad)}:pads")
    if y.shape is not None:
        y.shape = ir.Shape([*tuple(x.shape or ())[:2], *(int(str(side)) + 1 for side in sides)])
    return None
