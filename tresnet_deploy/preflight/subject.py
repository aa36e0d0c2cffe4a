"""An ONNX file becomes what the rules look at: functions expanded, types and shapes inferred."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from tresnet_deploy import graph_files, plugins
from tresnet_deploy.errors import ArtifactError
from tresnet_deploy.preflight.rules._rule import Subject
from tresnet_deploy.preflight.targets import Capability


def read(path: Path, targets: tuple[Capability, ...]) -> Subject:
    """Return the graph in ``path``, prepared for the rules.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is no ONNX model, is damaged, or its functions cannot be expanded.
    """
    model, problems = graph_files.examine(path)
    messages = tuple(dict.fromkeys(problem.message for problem in problems))
    return prepared(model, path=path, targets=targets, unreadable=messages)


def prepared(
    model: ir.Model,
    *,
    path: Path,
    targets: tuple[Capability, ...],
    unreadable: tuple[str, ...] = (),
) -> Subject:
    """Return ``model``, which is changed, as a subject.

    Raises:
        ArtifactError: its functions call each other in a circle, or do not fit their calls.
    """
    asking = plugins.wanted_by(model)
    calls = {
        node.outputs[0].name or "": f"{node.name} ({node.op_type})"
        for node in model.graph
        if node.op_identifier() in model.functions and node.outputs
    }
    before = set(model.graph)
    try:
        common_passes.InlinePass()(model)
    except (ir.passes.PreconditionError, ir.passes.PassError, ValueError) as error:
        raise ArtifactError(
            f"the functions in {path} cannot be expanded: {error.__cause__ or error}"
        ) from error
    _name_after_calls(model.graph, before, calls)
    if not unreadable:  # inference may look into weights
        common_passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)
    return Subject(path=path, model=model, targets=targets, unreadable=unreadable, plugins=asking)


def _name_after_calls(graph: ir.Graph, before: set[ir.Node], calls: Mapping[str, str]) -> None:
    """Let nodes that came out of a function say so, as parsers do: INNER | CALL (FUNCTION).

    A call's nodes stand together, and the last of them makes what the call made.
    """
    pending: list[ir.Node] = []
    for node in graph:
        if node in before:
            continue
        pending.append(node)
        call = calls.get(node.outputs[0].name or "") if node.outputs else None
        if call is not None:
            for inner in pending:
                inner.name = f"{inner.name or inner.op_type} | {call}"
            pending.clear()
