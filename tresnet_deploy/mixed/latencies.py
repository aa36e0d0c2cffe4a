"""What each block costs: measured by building it in both forms, or read from a file.

A block is a graph of its own here, built by the engine's backend with the engine's options and
timed on the activations of real images. Sums of blocks miss what an engine gains by fusing across
their borders, which is little in a TResNet: a block ends with an activation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy import graph_files
from tresnet_deploy.artifacts import from_json, sha256_of
from tresnet_deploy.blocks import piece
from tresnet_deploy.calibration import filled
from tresnet_deploy.contracts import (
    Array,
    Artifact,
    Batch,
    Precision,
    Progress,
    Session,
    no_progress,
)
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, first_readable
from tresnet_deploy.int8_results import BlockLatency, LatencyTable
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.sensitivity import Forms
from tresnet_deploy.sensitivity.chains import opened, through
from tresnet_deploy.timing import Schedule, interleaved

# A block takes 0.02 to 5 ms: these turns hold dozens of steps of each, in 0.5 s a block.
_TURNS: Final = Schedule(
    rounds=5, seconds=0.03, min_steps=5, settle_s=0.01, window_s=0.03, warmup_max_s=0.3
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Who runs what is timed and judged: a backend, its options, and the batch size."""

    backend: str
    options: Any
    batch: int


def read(path: Path, blocks: tuple[str, ...]) -> LatencyTable:
    """Return the table in the file ``path``, which must have all ``blocks``, and no others.

    Raises:
        UsageError: the file cannot be read, or lacks a block, or has one that is not there.
        ArtifactError: it is no latency table.
    """
    try:
        table = from_json(path.read_bytes(), LatencyTable, name=str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    named = [each.block for each in table.blocks]
    missing = [block for block in blocks if block not in named]
    strange = [block for block in named if block not in blocks or named.count(block) > 1]
    if missing or strange:
        wrong = f"lacks {missing[0]}" if missing else f"has {strange[0]}"
        raise UsageError(
            f"--latency-table {path} {wrong}; it must have these blocks, each once: "
            f"{', '.join(blocks)}"
        )
    broken = [b for b in table.blocks if not (b.float_ms > 0 and b.int8_ms > 0)]
    if broken:
        raise UsageError(f"--latency-table {path} has no times above 0 ms for {broken[0].block}")
    ordered = sorted(table.blocks, key=lambda each: blocks.index(each.block))
    return dataclasses.replace(table, blocks=tuple(ordered))


def measure(
    forms: Forms,
    engine: Engine,
    images: ImageSet,
    folder: Path,
    *,
    progress: Progress = no_progress,
) -> LatencyTable:
    """Return the latencies of all blocks of ``forms`` on ``engine``; ``folder`` is for its files.

    Where a graph cannot be cut between two blocks, both get half of what they take together.

    Raises:
        DeployError: as building and running raise.
    """
    quantised = {unit.block for unit in forms.units("block")}
    models: dict[Precision, ir.Model] = {"fp32": forms.model, "int8": forms.quantized()}
    found: list[BlockLatency] = []
    device, total = "", len(forms.segments)
    borders = _borders(forms, engine, images)
    for index, (segment, values) in enumerate(zip(forms.segments, borders, strict=True)):
        progress(index, total, "timing blocks")
        mine = [block for block in segment.blocks if block in quantised]
        if not mine:
            continue
        made = {
            precision: _built(forms, piece(model, segment), precision, engine, folder)
            for precision, model in models.items()
        }
        device = made["int8"].device or ""
        float_ms, int8_ms = _times(made.values(), engine.backend, values)
        found += [
            BlockLatency(block=b, float_ms=float_ms / len(mine), int8_ms=int8_ms / len(mine))
            for b in mine
        ]
    progress(total, total, "timing blocks")
    return LatencyTable(
        engine=engine.backend, device=device, batch=engine.batch, blocks=tuple(found)
    )


def _borders(forms: Forms, engine: Engine, images: ImageSet) -> Iterator[Array]:
    """Give what enters each segment, for the first images."""
    array = first_readable(images, forms.artifact.preprocess, engine.batch)
    array = filled(array, engine.batch)
    with opened(forms, ()) as chains:
        yield from (array, *through(chains.plain[:-1], array))


def _built(
    forms: Forms, part: ir.Model, precision: Precision, engine: Engine, folder: Path
) -> Artifact:
    path = folder / f"{precision}.part.onnx"
    graph_files.save(part, path)
    inputs, outputs = graph_files.tensor_specs(part)
    artifact = dataclasses.replace(
        forms.artifact,
        path=path,
        sha256=sha256_of(path),
        precision=precision,
        inputs=inputs,
        outputs=outputs,
    )
    backend = BACKENDS.load(engine.backend)
    made: Artifact = backend.build(
        artifact,
        folder / f"part.{precision}{backend.WRITES}",
        batch=Batch(min=engine.batch, opt=engine.batch, max=engine.batch),
        options=engine.options,
    )
    return made


def _times(made: Iterable[Artifact], backend: str, values: Array) -> list[float]:
    """Return the time of each engine in milliseconds: the best of the medians of its turns.

    A neighbour on the machine can only slow a turn, and here no turn is long enough to average it.
    """
    with ExitStack() as held:
        sessions: list[Session] = []
        for artifact in made:
            session: Session = held.enter_context(closing(BACKENDS.load(backend).load(artifact)))
            session.bind({session.inputs[0].name: values})
            sessions.append(session)
        turns = interleaved(tuple(sessions), _TURNS)
        return [min(float(np.median(times)) for times in turn.rounds_ms) for turn in turns]
