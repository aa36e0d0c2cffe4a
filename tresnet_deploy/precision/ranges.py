"""A quick look at how large activations get: what ``islands`` needs to know before typing FP16.

every float value between the layers -> Abs -> ReduceMax -> one number an image batch
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.calibration import Data, filled
from tresnet_deploy.contracts import Batch, Session, run
from tresnet_deploy.precision.layers import between, weighted

_AT_ONCE: Final = 2  # images; more only need more memory
_SUFFIX: Final = "/amax"


def largest(
    model: ir.Model,
    open_session: Callable[[ir.Model, Sequence[str]], Session],
    data: Data,
    batch: Batch | None,
) -> dict[str, float]:
    """Return the largest magnitude over ``data`` of each value an FP16 form would hold, by name.

    The reduction is part of the graph that runs, so memory stays that of a plain run.
    """
    watched = model.clone()
    names = _watch(watched.graph)
    size = batch.max if batch is not None and batch.fixed else _AT_ONCE
    found = dict.fromkeys(names, 0.0)
    with closing(open_session(watched, tuple(names.values()))) as session:
        (spec,) = session.inputs
        for portion in data.portions(size):
            array = filled(portion.array, size if batch is not None and batch.fixed else 0)
            outputs = run(session, {spec.name: array})
            for name, output in names.items():
                found[name] = float(np.fmax(found[name], outputs[output]))
    return found


def _watch(graph: ir.Graph) -> dict[str, str]:
    """Add the reductions to ``graph``; return their output's name for each value's name."""
    names: dict[str, str] = {}
    for node in between(graph, weighted(graph)):
        for value in node.outputs:
            if value.dtype != ir.DataType.FLOAT or value.name is None:
                continue
            absolute = ir.node("Abs", [value], name=f"{value.name}/Abs")
            absolute.outputs[0].name = f"{value.name}/abs"
            most = ir.node(
                "ReduceMax", [absolute.outputs[0]], attributes={"keepdims": 0}, name=value.name
            )
            most.name, most.outputs[0].name = f"{value.name}/ReduceMax", f"{value.name}{_SUFFIX}"
            graph.insert_after(node, (absolute, most))
            names[value.name] = f"{value.name}{_SUFFIX}"
    return names
