"""The two forms of a network, float and INT8, and every mixture of them, in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import onnx_ir as ir

from tresnet_deploy import environment, passes
from tresnet_deploy.blocks import Segment, blocks_of, expression_of, module_of, segments
from tresnet_deploy.calibration import Data, Noise, Pictures, dead_tensors
from tresnet_deploy.contracts import Artifact, CalibrationTable, Progress, no_progress
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet
from tresnet_deploy.int8_results import By
from tresnet_deploy.passes import pad_channels
from tresnet_deploy.precision.grids import INT8
from tresnet_deploy.precision.layers import weight
from tresnet_deploy.precision.placement import Placement, place
from tresnet_deploy.quantize import QuantizeOptions, auto
from tresnet_deploy.quantize.drawing import drawn
from tresnet_deploy.quantize.graphs import float_graph, require_fp32, runtime_session
from tresnet_deploy.quantize.making import (
    Job,
    Prepared,
    make,
    nothing_left,
    prepared,
    require_layers,
    tables,
)

_LISTED: Final = 8  # names in a message
_MADE: Final = "its INT8 form"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A block or a layer that may be INT8 or float, and the segment that it lies in."""

    name: str
    block: str
    segment: int
    nodes: tuple[str, ...]
    modules: tuple[str, ...]
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """A float network with all that quantises it.

    ``model`` is what the INT8 form is compared with: the float graph, equalised and with its
    channels padded where the INT8 graph has them so. ``options`` name one recipe: where "auto" was
    asked for, the one that it chose.
    """

    artifact: Artifact
    model: ir.Model
    graph: Prepared
    table: CalibrationTable
    options: QuantizeOptions
    job: Job
    segments: tuple[Segment, ...]

    def quantized(self, exclude: Sequence[str] = ()) -> ir.Model:
        """Return the INT8 form, but for nodes that the expressions ``exclude`` match.

        It is the graph that ``quantize`` writes by the same options. Where all is excluded it is a
        copy of the float form.
        """
        everything = (*self.options.exclude, *exclude)
        if not self._placement(self.model.graph, everything).layers:
            return self.model.clone()
        options = replace(self.options, exclude=everything)
        job = replace(self.job, options=options)
        return make(job, self.graph, self.table, options.recipe()).model

    def units(self, by: By) -> tuple[Unit, ...]:
        """Return the blocks or layers that the INT8 form has in INT8, in order."""
        placement = self._placement(self.model.graph, self.options.exclude)
        return _units(self.model.graph, placement, by, self.segments)

    def node_names(self, block: str) -> tuple[str, ...]:
        """Return the names of all nodes of ``block``."""
        found = blocks_of(self.model.graph)
        return tuple(str(node.name) for node, mine in found.items() if mine == block)

    def _placement(self, graph: ir.Graph, exclude: Sequence[str]) -> Placement:
        return place(
            graph,
            which=self.options.roles,
            exclude=exclude,
            dead=dead_tensors(self.table),
        )


def require_units(
    artifact: Artifact, options: QuantizeOptions, *, by: By, names: Sequence[str]
) -> None:
    """Refuse a name of none of the blocks or layers, before any work."""
    if names:
        require_fp32(artifact, _MADE)
        graph = float_graph(artifact).graph
        placement = place(graph, which=options.roles, exclude=options.exclude)
        chosen(_units(graph, placement, by, segments(graph)), names, "--only")


def _units(
    graph: ir.Graph, placement: Placement, by: By, parts: Sequence[Segment]
) -> tuple[Unit, ...]:
    block = blocks_of(graph)
    groups: dict[str, list[ir.Node]] = {}
    for node in placement.layers:
        name = block[node] if by == "block" else module_of(node) or str(node.name)
        groups.setdefault(name, []).append(node)
    return tuple(
        Unit(
            name=name,
            block=block[nodes[0]],
            segment=next(i for i, part in enumerate(parts) if block[nodes[0]] in part.blocks),
            nodes=tuple(str(node.name) for node in nodes),
            modules=tuple(module_of(node) for node in nodes),
            parameters=sum(_weights(node) for node in nodes),
        )
        for name, nodes in groups.items()
    )


def prepare(
    artifact: Artifact,
    folder: Path,
    *,
    images: ImageSet | None,
    options: QuantizeOptions,
    progress: Progress = no_progress,
) -> Forms:
    """Return the forms of the FP32 ONNX ``artifact``, calibrated on ``images``.

    The calibration table below ``folder`` is the one that ``quantize`` makes and takes: what is
    there is used again. ``images`` None is allowed with ``options.random_calibration`` only.

    Raises:
        UsageError: the graph is not FP32, or no layer is left to quantise.
        DeployError: as calibration raises.
    """
    require_fp32(artifact, _MADE)
    job, chosen = _job(artifact, folder, images, options, progress)
    recipe = chosen.recipe()
    graph = prepared(job, equalized=recipe.equalize)
    (table,) = tables(job, graph, (recipe.method,))
    model = graph.model.clone()
    _rewrite(model, options)
    forms = Forms(
        artifact=artifact,
        model=model,
        graph=graph,
        table=table,
        options=chosen,
        job=job,
        segments=segments(model.graph),
    )
    if not forms.units("block"):
        raise nothing_left(options)
    return forms


def _job(
    artifact: Artifact,
    folder: Path,
    images: ImageSet | None,
    options: QuantizeOptions,
    progress: Progress,
) -> tuple[Job, QuantizeOptions]:
    """Return what ``quantize`` would do, and its options with one recipe: "auto" is decided."""
    data: Data = Noise(count=options.samples, seed=options.seed, preprocess=artifact.preprocess)
    sets = None
    if not options.random_calibration:
        if images is None:
            raise UsageError("there are no images to calibrate on")
        sets = drawn(images, options)
        data = Pictures(
            images=sets.calibration, preprocess=artifact.preprocess, strict=options.strict
        )
    model = float_graph(artifact)
    require_layers(model.graph, options)
    job = Job(
        artifact=artifact,
        model=model,
        data=data,
        options=options,
        grid=INT8,
        folder=folder,
        open_session=runtime_session,
        progress=progress,
    )
    if sets is None or sets.held_out is None:
        return job, options
    made, _ = auto.choose(job, sets.held_out)
    # The first of the images drawn, so the same files as for "auto".
    fixed = replace(
        options,
        samples=len(sets.calibration),
        method=made.recipe.method,
        equalize=made.recipe.equalize,
        bias_correction=made.recipe.bias_correction,
        weights=made.recipe.weights,
        weight_rounding=made.recipe.weight_rounding,
    )
    return replace(job, options=fixed), fixed


def expressions_of(blocks: Iterable[str]) -> tuple[str, ...]:
    """Return what ``QuantizeOptions.exclude`` takes to keep ``blocks`` float."""
    return tuple(expression_of(block) for block in blocks)


def exactly(names: Iterable[str]) -> tuple[str, ...]:
    """Return the expression that matches these nodes and no others; none for no names."""
    listed = "|".join(re.escape(name) for name in names)
    return (f"^(?:{listed})$",) if listed else ()


def chosen(units: tuple[Unit, ...], names: Sequence[str], what: str) -> tuple[Unit, ...]:
    """Return the ``units`` of these names, all where none is named; ``what`` names the source.

    The name of a block also stands for all layers in it.

    Raises:
        UsageError: a name is not one of them.
    """
    known = {name for unit in units for name in (unit.name, unit.block)}
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = [unit.name for unit in units]
        more = f", ... ({len(listed)} in all)" if len(listed) > _LISTED else ""
        raise UsageError(
            f"{what} names {unknown[0]!r}, which is nothing that is quantised here; there are: "
            f"{', '.join(listed[:_LISTED])}{more}"
        )
    return tuple(unit for unit in units if not names or unit.name in names or unit.block in names)


def _rewrite(model: ir.Model, options: QuantizeOptions) -> None:
    """Do to the float graph what ``quantize`` does before it inserts pairs; both are exact."""
    padded = options.pad_channels
    if padded is None:
        padded, _ = pad_channels.pays_on(environment.instructions())
    names = (
        *(("pad-channels",) if padded else ()),
        *(("inline-operators",) if options.quantize_all else ()),
    )
    passes.run(model, names)


def _weights(node: ir.Node) -> int:
    tensor = weight(node).const_value
    assert tensor is not None
    return int(tensor.size)
