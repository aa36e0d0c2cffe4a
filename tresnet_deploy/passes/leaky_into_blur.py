"""Join a leaky ReLU to the blur after it, for a kernel that does both.

before:  x -> LeakyRelu {alpha} -> a -> tresnet::BlurPool2d {group} -> y
after:   x -> tresnet::LeakyBlurPool2d {alpha, group} -> y

The node keeps the name of the blur. It is in no order, because TensorRT's FP16 convolutions take
the leaky ReLU into their own epilogue; ask for it where a profile shows that one did not.
Left alone: an activation that others read too, blurs behind anything else, and blurs that ask for
a plugin already.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _graph
from tresnet_deploy.plugins import DOMAIN, NAMESPACE_ATTRIBUTE, VERSION, blur_pool, leaky_blur_pool

_BLUR: Final = (DOMAIN, blur_pool.OP_TYPE)
_DEFAULT_ALPHA: Final = 0.01  # of ONNX's LeakyRelu


def apply(model: ir.Model) -> Outcome:
    """Join every such pair, in place."""
    blurs = [node for node in model.graph if (node.domain, node.op_type) == _BLUR]
    outcome = _graph.attempted(blurs, _join)
    if outcome.changed:
        function = leaky_blur_pool.onnx_function(model.opset_imports[""])
        model.functions[function.identifier()] = function
    if outcome.changed and not outcome.left:
        model.functions.pop((*_BLUR, ""), None)
    return outcome


def _join(blur: ir.Node) -> str | None:
    """Join ``blur`` to the activation before it, or return why not."""
    if NAMESPACE_ATTRIBUTE in blur.attributes:
        return "it asks for a plugin already: join before plugin-operators"
    leaky = _graph.producer(blur.inputs[0], "LeakyRelu")
    if leaky is None:
        return "no leaky ReLU stands before it"
    if _graph.sole_user(leaky.outputs[0]) is not blur:
        return f"others read {_graph.name_of(leaky)} too"
    blur.replace_input_with(0, leaky.inputs[0])
    blur.op_type, blur.version = leaky_blur_pool.OP_TYPE, VERSION
    alpha = _graph.number(leaky, "alpha", _DEFAULT_ALPHA)
    blur.attributes["alpha"] = ir.AttrFloat32("alpha", alpha)
    _graph.remove(leaky)
    return None
