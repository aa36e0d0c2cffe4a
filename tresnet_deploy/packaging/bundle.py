"""An engine's graph with all that building it elsewhere takes: one folder, or one .tar file.

The engine itself is not packed: it fits this machine, and is built anew on the other one.

    engine, its graph, table, verdict [, images, weights] --pack--> BUNDLE/bundle.json and files
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tresnet_deploy import artifacts, folders, seals, trust
from tresnet_deploy.contracts import (
    CALIBRATED,
    Artifact,
    Batch,
    CalibrationTable,
    FileDigest,
    Labels,
    Scalar,
)
from tresnet_deploy.errors import ArtifactError, UsageError
from tresnet_deploy.hints import output_suffix, quoted
from tresnet_deploy.images import INDEX_HEADING, ImageSet
from tresnet_deploy.inspection import verdict_of
from tresnet_deploy.packaging import archive, manifest
from tresnet_deploy.packaging.manifest import BundleManifest
from tresnet_deploy.registry import BACKENDS

_LABELS: Final = "labels.txt"
_IMAGES: Final = "images"
_TABLES: Final = "calibration"
_PARITY: Final = "parity.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A finished bundle: where it lies, what it says of itself, and what to know about it."""

    path: Path
    manifest: BundleManifest
    notes: tuple[str, ...] = ()


def pack(
    engine: Artifact,
    target: Path,
    *,
    images: ImageSet | None = None,
    weights: bool = False,
    overwrite: bool = False,
) -> Packed:
    """Write the bundle of ``engine`` to ``target``: a .tar file by that ending, else a folder.

    ``images`` are packed to compare on after the rebuild, and ``weights`` packs the checkpoint,
    without which the other machine cannot compare with eager PyTorch unless the weights have a
    name. A backend that builds from the checkpoint packs it in any case.

    Raises:
        UsageError: it is no engine, or ``target`` exists and may not be replaced.
        ArtifactError: its graph or checkpoint does not lie where it did, or has changed.
        UnavailableError: the disk refuses.
    """
    graph = _graph_of(engine)
    if target.suffix != archive.SUFFIX:
        with folders.publishing(target, marker=manifest.NAME, overwrite=overwrite) as staging:
            return _filled(staging, target, engine, graph, images=images, weights=weights)
    with TemporaryDirectory(prefix="tresnet-deploy-") as place:
        packed = _filled(Path(place), target, engine, graph, images=images, weights=weights)
        archive.write(Path(place), target, overwrite=overwrite)
    return packed


def _graph_of(engine: Artifact) -> Artifact:
    where = output_suffix(engine.path.parent)
    if engine.kind != "engine" or not engine.parents:
        raise UsageError(
            f"{engine.path} is no engine that was built from a graph, so there is nothing to pack",
            hints=(f"tresnet-deploy build-engine{where}",),
        )
    parent = engine.parents[0]
    place = trust.beside(engine.path, parent.name)
    if place is None:
        raise ArtifactError(f"the sidecar of {engine.path} names no graph that it was built from")
    graph = artifacts.read(place)
    if graph.sha256 != parent.sha256:
        raise ArtifactError(
            f"{graph.path} was made anew after {engine.path.name} was built from it",
            hints=(f"tresnet-deploy build-engine {quoted(graph.path)} --overwrite{where}",),
        )
    return graph


def _filled(
    folder: Path,
    target: Path,
    engine: Artifact,
    graph: Artifact,
    *,
    images: ImageSet | None,
    weights: bool,
) -> Packed:
    """Copy everything into ``folder`` and write the manifest last."""
    notes: list[str] = []
    shutil.copyfile(graph.path, folder / graph.path.name)
    artifacts.sidecar_of(folder / graph.path.name).write_bytes(travelling(graph))
    found = verdict_of(engine)
    described = BundleManifest(
        engine=engine.path.name,
        engine_sha256=engine.sha256,
        architecture=engine.architecture,
        backend=engine.backend or "",
        precision=engine.precision,
        batch=engine.batch or Batch(),
        graph=graph.path.name,
        files=(),
        options=_options_of(engine),
        device=engine.device,
        versions=dict(engine.versions),
        table=_table(graph, folder, notes),
        weights=_weights(engine, folder, notes, asked=weights),
        images=_images(images, folder) if images is not None else None,
        labels=_labels(engine, folder),
        verdict=found,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if found is not None:
        shutil.copyfile(engine.path.with_name(_PARITY), folder / _PARITY)
    else:
        notes.append(f"{engine.path.name} was not compared with its weights here: rebuild does it")
    whole = dataclasses.replace(described, files=tuple(_digests(folder)))
    manifest.write(whole, folder)
    return Packed(path=target, manifest=whole, notes=tuple(notes))


def _digests(folder: Path) -> Iterator[FileDigest]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            yield FileDigest(name=name, sha256=artifacts.sha256_of(path))


def travelling(artifact: Artifact) -> bytes:
    """Return the sidecar of ``artifact`` for other machines: a path there says nothing."""
    source = artifact.source
    if source.kind == "file":
        source = dataclasses.replace(source, location=Path(source.location).name)
    return seals.sealed(artifacts.to_json(dataclasses.replace(artifact, source=source)))


def _options_of(engine: Artifact) -> dict[str, Scalar]:
    """Return the backend's own options, by the names that ``--option`` knows them by."""
    prefix = f"{engine.backend}."
    found = {
        name.removeprefix(prefix): value
        for name, value in engine.settings.items()
        if name.startswith(prefix)
    }
    return {name: value for name, value in found.items() if name not in manifest.LOCAL_OPTIONS}


def _table(graph: Artifact, folder: Path, notes: list[str]) -> str | None:
    """Copy the calibration table of a Q/DQ graph and return its name in the bundle."""
    if graph.precision not in CALIBRATED:
        return None
    for path in sorted((graph.path.parent / _TABLES).glob("*.json")):
        if _is_table_of(path, graph):
            (folder / _TABLES).mkdir()
            shutil.copyfile(path, folder / _TABLES / path.name)
            return f"{_TABLES}/{path.name}"
    notes.append(
        f"the calibration table of {graph.path.name} is not in {graph.path.parent / _TABLES}/ any "
        "more; the graph holds its ranges, so nothing is missing for a rebuild"
    )
    return None


def _is_table_of(path: Path, graph: Artifact) -> bool:
    try:
        table = artifacts.from_json(path.read_bytes(), CalibrationTable, name=str(path))
    except ArtifactError:
        return False
    settings = graph.settings
    return (
        table.graph_sha256 in {parent.sha256 for parent in graph.parents}
        and table.dataset_sha256 == settings.get("calibration_sha256")
        and table.method == settings.get("method")
    )


def _weights(engine: Artifact, folder: Path, notes: list[str], *, asked: bool) -> str | None:
    """Copy the checkpoint where it is asked for or needed; weights with a name need no copy."""
    source = engine.source
    needed = BACKENDS.load(engine.backend or "").READS == "checkpoint"
    if source.kind != "file" or not (asked or needed):
        if source.kind == "file":
            notes.append(
                "the checkpoint is not packed, so the other machine cannot compare with eager "
                "PyTorch: --weights packs it"
            )
        return None
    path = Path(source.location)
    if not path.is_file() or artifacts.sha256_of(path) != source.sha256:
        raise ArtifactError(
            f"the checkpoint {path} is not there any more, or has changed since the export",
            hints=("restore it, or pack without --weights",),
        )
    name = f"{engine.path.name.partition('.')[0]}.weights{path.suffix}"
    shutil.copyfile(path, folder / name)
    return name


def _images(images: ImageSet, folder: Path) -> str:
    """Copy images and their labels, as class indices, and return the folder's name."""
    (folder / _IMAGES).mkdir()
    rows = [INDEX_HEADING]
    for number, file in enumerate(images.files):
        name = f"{number:05d}{file.path.suffix.lower()}"
        shutil.copyfile(file.path, folder / _IMAGES / name)
        rows.append(",".join((name, *map(str, file.labels or ()))))
    if images.labelled:
        (folder / _IMAGES / "labels.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return _IMAGES


def _labels(engine: Artifact, folder: Path) -> str | None:
    if not engine.labels.names:
        return None
    (folder / _LABELS).write_text(label_lines(engine.labels), "utf-8")
    return _LABELS


def label_lines(labels: Labels) -> str:
    """Return the class names, one a line, in the order of the outputs."""
    return "".join(f"{' '.join(name.split())}\n" for name in labels.names)
