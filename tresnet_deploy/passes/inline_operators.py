"""Replace TResNet's operators by their meaning in standard ones.

before:  x -> tresnet::BlurPool2d {group} -> y            (a call of a model-local function)
after:   x -> Pad reflect -> Conv {group, strides 2} -> y

Nodes keep the name of the call, so ``layer4.0.blur/BlurPool2d`` becomes
``layer4.0.blur/BlurPool2d/Pad`` and ``.../Conv``. Left alone: calls whose function the file does
not hold, since only a runtime with a kernel of its own knows what they mean.
"""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from tresnet_deploy.contracts import Outcome, Refusal
from tresnet_deploy.plugins import DOMAIN


def apply(model: ir.Model) -> Outcome:
    """Inline every call of our domain in place; the domain goes when its last node has gone."""
    calls = [node for node in model.graph if node.domain == DOMAIN]
    known = [node for node in calls if node.op_identifier() in model.functions]
    if known:
        _inline(model)
    left = tuple(
        Refusal(match=node.name or node.op_type, reason="the file holds no function of that name")
        for node in calls
        if node not in known
    )
    if not left:
        model.opset_imports.pop(DOMAIN, None)
    return Outcome(changed=len(known), left=left)


def _inline(model: ir.Model) -> None:
    outputs = {node.outputs[0].name: node.name for node in model.graph if node.domain == DOMAIN}
    before = set(model.graph)
    common_passes.InlinePass(criteria=lambda function: function.domain == DOMAIN)(model)
    pending: list[ir.Node] = []
    for node in model.graph:
        if node in before:
            continue
        pending.append(node)
        caller = outputs.get(node.outputs[0].name)
        if caller is None:
            continue
        for inlined in pending:
            inlined.name = f"{caller}/{inlined.op_type}"
            if inlined.outputs[0].name != caller:
                inlined.outputs[0].name = inlined.name
        pending.clear()
    common_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common_passes.ShapeInferencePass()(model)  # other passes ask for the shapes in between
