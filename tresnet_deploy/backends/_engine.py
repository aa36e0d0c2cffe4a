"""What all backends say about an engine file in its artefact, and check before they load one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tresnet_deploy import environment
from tresnet_deploy.contracts import (
    Artifact,
    Batch,
    FileDigest,
    Precision,
    Scalar,
    TensorSpec,
)
from tresnet_deploy.errors import ArtifactError

Kind = TypeVar("Kind")


def describe(
    source: Artifact,
    path: Path,
    *,
    backend: str,
    precision: Precision,
    batch: Batch,
    device: str,
    options: Any,
    versions: Mapping[str, str],
) -> Artifact:
    """Return the artefact of the engine ``path``, built from ``source`` under ``options``.

    The options stand in the settings as BACKEND.NAME, where :func:`options_of` finds them.
    """
    fields = {f"{backend}.{name}": value for name, value in _fields(options).items()}
    return dataclasses.replace(
        source,
        path=path,
        sha256="",  # not known before it is published; until then nobody else has touched it
        kind="engine",
        step="build-engine",
        backend=backend,
        precision=precision,
        batch=batch,
        device=device,
        inputs=tuple(_with_batch(spec, batch) for spec in source.inputs),
        outputs=tuple(_with_batch(spec, batch) for spec in source.outputs),
        companions=(),
        parents=(FileDigest(name=source.path.name, sha256=source.sha256), *source.parents),
        settings={**source.settings, **fields},
        versions={**source.versions, **versions},
        verified=None,
    )


def _fields(options: Any) -> dict[str, Scalar]:
    found: dict[str, Scalar] = msgspec.to_builtins(options)
    return found


def _with_batch(spec: TensorSpec, batch: Batch) -> TensorSpec:
    if not batch.fixed:
        return spec
    return dataclasses.replace(spec, shape=(batch.max, *spec.shape[1:]))


def options_of(artifact: Artifact, kind: type[Kind], *, backend: str) -> Kind:
    """Return the options that ``artifact`` was built under; an ONNX artefact has the default ones.

    Raises:
        ArtifactError: it is another backend's engine, or its settings are not of this version.
    """
    if artifact.kind == "engine" and artifact.backend != backend:
        raise ArtifactError(
            f"{artifact.path} is an engine of {artifact.backend}; {backend} cannot load it",
            hints=(f"tresnet-deploy build-engine --backend {backend}",),
        )
    prefix = f"{backend}."
    found = {
        name.removeprefix(prefix): value
        for name, value in artifact.settings.items()
        if name.startswith(prefix)
    }
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise ArtifactError(
            f"the sidecar of {artifact.path} has settings that this version does not know: {error}",
            hints=("build it again with --overwrite",),
        ) from error


def overflow_safe(asked: bool | None, precision: Precision) -> bool | None:
    """Return the option of that name: what was asked for, or what INT8 needs on this CPU."""
    if asked is None and precision == "int8":
        return environment.overflows_int8()
    return asked


def this_cpu() -> str:
    """Return the processor with its instructions: a name alone does not tell generations apart."""
    return f"{environment.processor()} ({', '.join(environment.instructions())})"
