"""Ask TensorRT for our plugins.

before:  x -> tresnet::BlurPool2d {group} -> y
after:   x -> tresnet::BlurPool2d {group, plugin_namespace "tresnet"} -> y
         (SpaceToDepth and LeakyBlurPool2d likewise)

By that attribute TensorRT's parser finds the plugin that ``plugins.tensorrt_registration`` has
registered; the function stays in the file and declares the attribute, so every other runtime runs
the same graph. Left alone: nodes that compute something else than the kernels do, which are a
blur with another filter or group, and a SpaceToDepth of a block that has no kernel.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _graph
from tresnet_deploy.plugins import (
    DOMAIN,
    NAMESPACE_ATTRIBUTE,
    blur_pool,
    leaky_blur_pool,
    space_to_depth,
)
from tresnet_deploy.plugins.kernels.plans import BLOCK_SIZES

_TYPES: Final = (blur_pool.OP_TYPE, leaky_blur_pool.OP_TYPE, space_to_depth.OP_TYPE)


def apply(model: ir.Model) -> Outcome:
    """Mark every call that a plugin of ours computes, in place."""

    def mark(node: ir.Node) -> str | None:
        reason = _reason_against(node)
        if reason is None:
            node.attributes[NAMESPACE_ATTRIBUTE] = ir.AttrString(NAMESPACE_ATTRIBUTE, DOMAIN)
            _declare(model, node)
        return reason

    return _graph.attempted([node for node in model.graph if _is_unmarked(node)], mark)


def _is_unmarked(node: ir.Node) -> bool:
    ours = node.domain == DOMAIN and node.op_type in _TYPES
    return ours and NAMESPACE_ATTRIBUTE not in node.attributes


def _reason_against(node: ir.Node) -> str | None:
    if node.op_type == space_to_depth.OP_TYPE:
        block = _graph.integer(node, "blocksize", 0)
        return None if block in BLOCK_SIZES else f"there is no kernel for blocks of {block}"
    taps = _graph.constant(node.inputs[1])
    if taps is None:
        return "its filter is not a constant"
    channels = taps.shape[0]
    if _graph.integer(node, "group", 1) != channels:
        return "its group is not the number of channels"
    if not np.array_equal(taps, blur_pool.binomial_filter(channels, taps.dtype.type)):
        return "its filter is not the binomial one"
    return None


def _declare(model: ir.Model, node: ir.Node) -> None:
    """Let the function of ``node`` know the attribute, with the value that all nodes give it."""
    function = model.functions.get(node.op_identifier())
    if function is not None and NAMESPACE_ATTRIBUTE not in function.attributes:
        function.attributes[NAMESPACE_ATTRIBUTE] = ir.AttrString(NAMESPACE_ATTRIBUTE, DOMAIN)
