"""ONNX to engine: this file is about building, and proving the engine at once.

    Artifact(onnx) --backend.build--> staged files --run beside the graph--> Artifact(engine)

The engine appears only when it has been loaded and has run its smallest and largest batch of real
images beside the graph it was built from. That is a check of the build, not a report on accuracy.
One that is built for a device which is not here appears too, and says that it was not run.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from tresnet_deploy import artifacts, scoring
from tresnet_deploy.build.choosing import backend_for
from tresnet_deploy.contracts import (
    Array,
    Artifact,
    Batch,
    Precision,
    Progress,
    Session,
    no_progress,
    run,
)
from tresnet_deploy.errors import BuildError, ElsewhereError, UsageError
from tresnet_deploy.images import ImageSet, default_images, first_readable
from tresnet_deploy.metrics import cosine
from tresnet_deploy.precision.checking import SNR_SETTING
from tresnet_deploy.registry import BACKENDS

# The engine against its own graph, in which INT8 has its rounding already. What is left is another
# order of sums, bf16 between the layers, and integers that land on the next step.
COSINE_AT_LEAST: Final[Mapping[Precision, float]] = {
    "fp32": 0.9999,
    "fp16": 0.99,
    "bf16": 0.99,
    "int8": 0.95,
    "fp8": 0.95,
}
NOT_RUN: Final = "built, not run"
"""How the proof of an engine begins that is for a device which is not here."""

_DISTINCT_IMAGES: Final = 8  # larger batches repeat them, so that the graph need not run them all
_STEPS: Final = 2  # building, and running beside the graph
_STATUS: Final = Path("/proc/self/status")
_KIB_PER_MIB: Final = 1024


def file_name(artifact: Artifact, backend: str, precision: Precision) -> str:
    """Return what the engine of ``artifact`` is called, such as tresnet_l.int8.openvino.xml."""
    stem = artifact.path.name.removesuffix(".onnx").removesuffix(f".{artifact.precision}")
    return f"{stem}.{precision}{BACKENDS.load(backend).WRITES}"


def build(
    artifact: Artifact,
    target: Path,
    *,
    backend: str,
    precision: Precision | None = None,
    batch: Batch | None = None,
    options: Any = None,
    images: ImageSet | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Artifact:
    """Build the ONNX ``artifact`` into the engine ``target``, prove it, and return it.

    ``precision`` None is the graph's own. ``batch`` None is what the graph was exported for, or
    else 1:8:16. ``options`` are the backend's own, None takes the fastest. ``images`` prove the
    engine; None takes packaged ones.

    Raises:
        UsageError: the backend does not make such engines, the graph has another precision than
            they are built from or a fixed batch that is not asked for, or ``target`` exists.
        UnavailableError: the runtime is missing, or the folder cannot be written.
        BuildError: the backend refuses the graph, or the engine does not compute what it says.
    """
    wanted = precision or artifact.precision
    module = backend_for(backend, wanted)
    _check_graph(artifact, module.GRAPHS[wanted], wanted, backend)
    sizes = batch_of(artifact, batch)
    pictures = images or default_images(artifact, "compare", None)
    started = time.monotonic()
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        progress(0, _STEPS, "building")
        chosen = options or module.options_for(wanted)
        made: Artifact = module.build(artifact, staging.path, batch=sizes, options=chosen)
        built_s = time.monotonic() - started
        progress(1, _STEPS, "building")
        verdict = _verified(made, artifact, pictures, module)
        progress(_STEPS, _STEPS, "building")
        settings = {**made.settings, "build.seconds": round(built_s, 2), **_peak()}
        return staging.finish(dataclasses.replace(made, settings=settings, verified=verdict))


def _check_graph(artifact: Artifact, graph: Precision, wanted: Precision, backend: str) -> None:
    if artifact.kind != "onnx":
        raise UsageError(
            f"{artifact.path} is an {artifact.kind}; engines are built from ONNX files",
            hints=("tresnet-deploy export",),
        )
    if artifact.precision != graph:
        raise UsageError(
            f"a {wanted} engine of {backend} is built from a graph in {graph}; "
            f"{artifact.path.name} is in {artifact.precision}",
            hints=(f"tresnet-deploy build-engine --precision {wanted} --backend {backend}",),
        )


def batch_of(artifact: Artifact, asked: Batch | None) -> Batch:
    """Return the batch sizes of the engine, within what the graph takes.

    Raises:
        UsageError: the graph has one size, and another one was asked for.
    """
    fixed = artifact.inputs[0].shape[0]
    if isinstance(fixed, str):
        return asked or artifact.batch or Batch()
    if asked is not None and (asked.min, asked.max) != (fixed, fixed):
        raise UsageError(
            f"{artifact.path.name} takes batches of {fixed} only",
            hints=(f"--batch {fixed}", "tresnet-deploy export --overwrite, without --batch"),
        )
    return Batch(min=fixed, opt=fixed, max=fixed)


def _verified(made: Artifact, graph: Artifact, images: ImageSet, module: ModuleType) -> str:
    """Return in words how the staged engine did beside its graph, or why it was not run.

    Raises:
        BuildError: outputs are not finite, of another shape, or too far away.
    """
    assert made.batch is not None
    try:
        engine: Session = module.load(made)
    except ElsewhereError as error:  # built for a device that is not here
        return f"{NOT_RUN}: {error.message}"
    array = first_readable(images, made.preprocess, _DISTINCT_IMAGES)
    sizes = sorted({made.batch.min, made.batch.max})
    with closing(engine):
        with scoring.opened(graph) as reference:
            expected = scoring.scores_of(reference, array, batch=graph.batch)
        lowest = min(_cosine_at(engine, made, array, expected, size) for size in sizes)
    return f"cosine {lowest:.6f} to {graph.path.name} at batch {' and '.join(map(str, sizes))}"


def _cosine_at(engine: Session, made: Artifact, images: Array, expected: Array, size: int) -> float:
    chosen = np.arange(size) % len(images)
    (output,) = made.outputs
    found = run(engine, {made.inputs[0].name: images[chosen]})[output.name]
    wanted = expected[chosen]
    if found.shape != wanted.shape:
        raise BuildError(
            f"at batch {size} the engine answers in {found.shape}, its graph in {wanted.shape}"
        )
    if not np.isfinite(found).all():
        raise BuildError(f"at batch {size} the engine's outputs are not finite numbers")
    lowest = float(cosine(wanted, found).min())
    bound = _least_cosine(made)
    if lowest < bound:
        raise BuildError(
            f"at batch {size} the engine does not compute what its graph does: cosine "
            f"{lowest:.4f}, at least {bound:.4g} expected; nothing was written",
            hints=("tresnet-deploy build-engine --backend NAME, for another backend",),
        )
    return lowest


def _least_cosine(made: Artifact) -> float:
    """Return how near ``made`` has to be to its graph: never nearer than that is to the float one.

    Where INT8 has ruined a graph, as quantize warned, its sums in any other order answer otherwise.
    The cosine is that of a signal and itself with such noise at right angles.
    """
    bound, snr_db = COSINE_AT_LEAST[made.precision], made.settings.get(SNR_SETTING)
    if not isinstance(snr_db, int | float):
        return bound
    return min(bound, 1 / math.sqrt(1 + 10 ** (-snr_db / 10)))


def _peak() -> dict[str, int]:
    """Return the largest memory this process has held so far; nothing where that is not told."""
    try:
        rows = _STATUS.read_text("utf-8").splitlines()
    except OSError:
        return {}
    peaks = [int(row.split()[1]) for row in rows if row.startswith("VmHWM:")]
    return {"build.process_peak_mib": peaks[0] // _KIB_PER_MIB} if peaks else {}
