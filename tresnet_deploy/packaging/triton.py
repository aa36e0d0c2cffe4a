"""A model repository for Triton, proved by running exactly the file that it serves.

    REPOSITORY/NAME/config.pbtxt, labels.txt, tresnet-deploy.json, 1/model.xml (.onnx, .plan)

Not run in Triton yet; docs/serving.md has the commands.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tresnet_deploy import folders, scoring, trust
from tresnet_deploy.contracts import Array, Artifact, FileDigest, Probe
from tresnet_deploy.errors import GateError, RunError, UnavailableError, UsageError
from tresnet_deploy.hints import output_suffix, quoted
from tresnet_deploy.images import ImageSet, default_images, first_readable
from tresnet_deploy.inspection import verdict_of
from tresnet_deploy.packaging.bundle import label_lines, travelling
from tresnet_deploy.packaging.config import (
    CONFIG,
    LABELS,
    MODEL_FILES,
    Serving,
    config_of,
    largest_batch,
    notes_of,
)
from tresnet_deploy.registry import BACKENDS

_VERSION: Final = "1"
_ORIGIN: Final = "tresnet-deploy.json"
_WEIGHTS: Final = ".bin"
_IMAGES: Final = 4
# The same file by the same runtime on the same machine: only threads may add up in another order.
_TOLERANCE: Final = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A finished model folder: the served file, how it was proved, and what to know about it."""

    path: Path
    name: str
    model: FileDigest
    proof: str
    config: str
    notes: tuple[str, ...] = ()


def write(
    engine: Artifact,
    repository: Path,
    serving: Serving,
    *,
    images: ImageSet | None = None,
    failed: bool = False,
    overwrite: bool = False,
) -> Repository:
    """Write the model folder of ``engine`` into ``repository``; it appears whole and proved.

    ``images`` are what the served file is run on; None takes packaged ones. ``failed`` lets an
    engine through that ``compare`` has failed.

    Raises:
        GateError: it failed parity and ``failed`` is False.
        UsageError: Triton has no backend for the engine, the name or batch does not fit, or the
            folder exists and may not be replaced.
        ArtifactError: the engine was changed since its build.
        UnavailableError: its runtime is not installed here, or the disk refuses.
        RunError: the packaged file does not answer as the engine does.
    """
    _check(engine, serving)
    notes = (*_parity_notes(engine, failed=failed), *notes_of(engine, serving))
    config = config_of(engine, serving)
    target = repository / serving.name
    with folders.publishing(target, marker=CONFIG, overwrite=overwrite) as staging:
        served = _filled(staging, engine, config)
        proof = _proved(engine, served, serving, images)
    return Repository(
        path=target,
        name=serving.name,
        model=FileDigest(name=f"{_VERSION}/{served.path.name}", sha256=served.sha256),
        proof=proof,
        config=config,
        notes=notes,
    )


def name_of(engine: Artifact) -> str:
    """Return what the model is called where nobody says otherwise: tresnet_l_int8."""
    stem = engine.path.name.partition(f".{engine.backend}")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem)


def _check(engine: Artifact, serving: Serving) -> None:
    where = output_suffix(engine.path.parent)
    if engine.kind != "engine":
        raise UsageError(
            f"{engine.path} is no engine, and engines are what is served",
            hints=(
                f"tresnet-deploy build-engine {quoted(engine.path)} --backend onnxruntime{where}",
            ),
        )
    if engine.backend not in MODEL_FILES:
        raise UsageError(
            f"{engine.path} is an engine of {engine.backend}, for which Triton has no backend; it "
            f"has some for {', '.join(MODEL_FILES)}",
            hints=(
                f"tresnet-deploy build-engine --backend onnxruntime{where}",
                f"tresnet-deploy package {quoted(engine.path)} --format bundle",
            ),
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", serving.name):
        raise UsageError(f"{serving.name!r} is no name for a model: use letters, digits, _ - and .")
    trust.check_before_loading(engine)


def _parity_notes(engine: Artifact, *, failed: bool) -> tuple[str, ...]:
    found = verdict_of(engine)
    if found is None:
        return (f"{engine.path.name} was not compared with its weights: tresnet-deploy compare",)
    if found.passed:
        return ()
    gates = ", ".join(found.failed_gates)
    if not failed:
        raise GateError(
            f"{engine.path.name} failed parity ({gates}), so it is not packaged for serving",
            hints=("--failed, to package it all the same",),
        )
    return (f"{engine.path.name} failed parity: {gates}",)


def _filled(folder: Path, engine: Artifact, config: str) -> Artifact:
    """Write all files of the model into ``folder`` and return the served one."""
    (folder / CONFIG).write_text(config, "utf-8")
    if engine.labels.names:
        (folder / LABELS).write_text(label_lines(engine.labels), "utf-8")
    (folder / _ORIGIN).write_bytes(travelling(engine))
    return _copied(engine, folder / _VERSION)


def _copied(engine: Artifact, folder: Path) -> Artifact:
    """Copy the engine under the name that Triton looks for, and return it there.

    A compiled form is left behind: Triton has its own OpenVINO and its own machine.
    """
    folder.mkdir()
    name = MODEL_FILES[engine.backend or ""]
    shutil.copyfile(engine.path, folder / name)
    weights = engine.path.with_suffix(_WEIGHTS)
    if engine.backend == "openvino":
        shutil.copyfile(weights, (folder / name).with_suffix(_WEIGHTS))
    companions = tuple(
        FileDigest(name=f"{Path(name).stem}{_WEIGHTS}", sha256=each.sha256)
        for each in engine.companions
        if each.name == weights.name
    )
    return dataclasses.replace(engine, path=folder / name, companions=companions)


def _proved(engine: Artifact, served: Artifact, serving: Serving, images: ImageSet | None) -> str:
    """Return in words how the served file answers beside the engine.

    Raises:
        RunError: otherwise than the engine does.
    """
    if engine.backend == "tensorrt" and not _plans_run_here():
        return f"{served.path.name} has the engine's bytes; it was not run, which takes its GPU"
    pictures = images or default_images(engine, "compare", None)
    array = first_readable(pictures, engine.preprocess, _IMAGES)
    largest = largest_batch(engine, serving)
    apart = _furthest(_answers(engine, array), _answers(served, array))
    if largest > 1:
        full = array[np.arange(largest) % len(array)]
        apart = max(apart, _furthest(_answers(engine, full), _answers(served, full)))
    if apart > _TOLERANCE:
        raise RunError(
            f"{served.path.name} in the package answers otherwise than {engine.path.name}: by "
            f"{apart:.2g} of the largest score; nothing was written"
        )
    return f"{served.path.name} answers as {engine.path.name} on {len(array)} images" + (
        "" if apart else ", to the last bit"
    )


def _plans_run_here() -> bool:
    try:
        found: Probe = BACKENDS.load("tensorrt").probe()
    except UnavailableError:
        return False
    return found.runs


def _answers(model: Artifact, array: Array) -> Array:
    with scoring.opened(model) as session:
        return scoring.scores_of(session, array, batch=model.batch)


def _furthest(expected: Array, found: Array) -> float:
    """Return the largest difference, as a share of the largest score."""
    if expected.shape != found.shape:
        return float("inf")
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(expected - found).max()) / scale
