"""From a bundle to an engine of this machine, proved again here.

BUNDLE --hashes--> its graph in FOLDER --build--> engine, beside its graph --compare--> report
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tresnet_deploy import artifacts, build, parity
from tresnet_deploy.contracts import Artifact, Progress, Source, no_progress
from tresnet_deploy.errors import ArtifactError, ImageError, UnavailableError, UsageError
from tresnet_deploy.images import ImageSet, default_images, sample
from tresnet_deploy.packaging import archive, manifest
from tresnet_deploy.packaging.manifest import BundleManifest
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.results import ParityReport

_SAMPLES: Final = 500  # as many as compare takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to do otherwise than the bundle says.

    ``backend`` None takes the one that was recorded, with its options; another one takes its best
    options. ``options`` are values as people type them. ``images`` None takes those of the bundle,
    or else packaged ones. ``trust_pickle`` lets a packed checkpoint run code.
    """

    backend: str | None = None
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    images: Path | None = None
    samples: int = _SAMPLES
    compare: bool = True
    trust_pickle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """The engine made here, what was said of it where it was packed, and what is said here.

    ``parity`` is None where it was not compared, and ``not_compared`` says why.
    """

    engine: Artifact
    manifest: BundleManifest
    parity: ParityReport | None
    not_compared: str | None = None


def rebuild(
    bundle: Path,
    folder: Path,
    wish: Wish | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
    quiet: bool = False,
) -> Rebuilt:
    """Return the engine of ``bundle``, built into ``folder`` with its graph beside it.

    Every file of the bundle is checked before any is used. The engine is run beside its graph as
    after any build, and compared with eager PyTorch where the weights and PyTorch are here.

    Raises:
        UsageError: there is no bundle, or a file to be made exists and ``overwrite`` is False.
        ArtifactError: the bundle is damaged, was edited, or leaves its folder.
        UnavailableError: the backend or its device is missing here.
        BuildError: the engine does not compute what its graph does.
    """
    wish = wish or Wish()
    with archive.opened(bundle) as place:
        packed = manifest.read(place)
        engine, images = _built(place, packed, folder, wish, overwrite=overwrite, progress=progress)
        if not wish.compare:
            return Rebuilt(
                engine=engine, manifest=packed, parity=None, not_compared="it was not asked for"
            )
        return _compared(engine, packed, images, progress=progress, quiet=quiet)


def _built(
    place: Path,
    packed: BundleManifest,
    folder: Path,
    wish: Wish,
    *,
    overwrite: bool,
    progress: Progress,
) -> tuple[Artifact, ImageSet]:
    """Return the engine, and the images that it was run on beside its graph."""
    source = _graph_in(place, packed)
    backend = wish.backend or packed.backend
    _refuse_taken(folder, packed, source, backend, overwrite=overwrite)
    options = _options(packed, backend, wish.options)  # an unknown one is told before any work
    images = _images(place, packed, source, wish)
    graph = _placed(source, place, packed, folder, wish)
    engine = build.build(
        graph,
        folder / build.file_name(graph, backend, packed.precision),
        backend=backend,
        precision=packed.precision,
        batch=packed.batch,
        options=options,
        images=images,
        overwrite=overwrite,
        progress=progress,
    )
    return engine, images


def _graph_in(place: Path, packed: BundleManifest) -> Artifact:
    graph = artifacts.read(place / packed.graph)
    if graph.kind != "onnx":
        raise ArtifactError(f"{packed.graph} in the bundle is an {graph.kind}, and no ONNX file")
    return graph


def _refuse_taken(
    folder: Path, packed: BundleManifest, graph: Artifact, backend: str, *, overwrite: bool
) -> None:
    """Refuse before anything is copied where files of another origin are in the way."""
    hashes = {digest.name: digest.sha256 for digest in packed.files}
    copied = [name for name in (packed.graph, packed.weights) if name is not None]
    taken = [name for name in copied if _differs(folder / name, hashes[name])]
    engine = build.file_name(graph, backend, packed.precision)
    if (folder / engine).exists():
        taken.append(engine)
    if taken and not overwrite:
        raise UsageError(
            f"{folder} has {' and '.join(taken)} already",
            hints=("add --overwrite to replace it", "choose another folder with --output"),
        )


def _differs(path: Path, sha256: str) -> bool:
    return path.exists() and artifacts.sha256_of(path) != sha256


def _options(packed: BundleManifest, backend: str, asked: Mapping[str, str]) -> object:
    """Return the recorded options where they belong to ``backend``, changed by ``asked``."""
    recorded = packed.options if backend == packed.backend else {}
    given = {
        name: str(value)
        for name, value in recorded.items()
        if value is not None and name not in manifest.LOCAL_OPTIONS
    }
    module = build.backend_for(backend, packed.precision)
    options: object = build.options_from(module, packed.precision, {**given, **asked})
    return options


def _placed(
    source: Artifact, place: Path, packed: BundleManifest, folder: Path, wish: Wish
) -> Artifact:
    """Return the graph beside which the engine will lie, with its weights where they are packed."""
    origin = _weights(source.source, place, packed, folder, wish)
    target = folder / source.path.name
    if target.exists() and artifacts.sha256_of(target) == source.sha256 and origin == source.source:
        return artifacts.read(target)
    with artifacts.publishing(target, overwrite=True) as staging:
        shutil.copyfile(source.path, staging.path)
        return staging.finish(dataclasses.replace(source, source=origin))


def _weights(
    source: Source, place: Path, packed: BundleManifest, folder: Path, wish: Wish
) -> Source:
    """Return where the checkpoint lies here; a packed one may not run code unless it is trusted."""
    source = dataclasses.replace(source, trust_pickle=wish.trust_pickle)
    if packed.weights is None or source.kind != "file":
        return source
    kept = folder / packed.weights
    if not kept.exists() or _differs(kept, source.sha256):
        artifacts.write_whole(kept, (place / packed.weights).read_bytes())
    return dataclasses.replace(source, location=str(kept.resolve()))


def _images(place: Path, packed: BundleManifest, graph: Artifact, wish: Wish) -> ImageSet:
    inside = None if packed.images is None else place / packed.images
    found = default_images(graph, "compare", wish.images or inside)
    if inside is not None and wish.images is None:
        found = dataclasses.replace(found, source=f"{len(found)} images in the bundle")
    return sample(found, wish.samples, seed=0)


def _compared(
    engine: Artifact,
    packed: BundleManifest,
    images: ImageSet,
    *,
    progress: Progress,
    quiet: bool,
) -> Rebuilt:
    """Compare with eager PyTorch, or say what is missing for it."""
    missing = _missing(engine, packed)
    report = None
    if missing is None:
        try:
            report = parity.prove(
                (engine,), images, folder=engine.path.parent, progress=progress, quiet=quiet
            )
        except ImageError:
            raise
        except (UnavailableError, UsageError) as error:  # PyTorch or the weights are not here
            missing = error.message
    return Rebuilt(engine=engine, manifest=packed, parity=report, not_compared=missing)


def _missing(engine: Artifact, packed: BundleManifest) -> str | None:
    probe = BACKENDS.load(engine.backend or "").probe()
    if not probe.runs:
        return f"{engine.backend} builds here and does not run: {probe.reason}"
    if engine.source.kind == "file" and packed.weights is None:
        return "the bundle holds no weights: pack it with --weights"
    return None
