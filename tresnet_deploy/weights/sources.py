"""From what a user asks for to a :class:`Source`, and from a Source to the loaded network."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tresnet.variants import Slopes, Variant, Weights, find
from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.contracts import Source
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError
from tresnet_deploy.weights import hub, seeded

if TYPE_CHECKING:
    from tresnet.checkpoint import Checkpoint

RANDOM: Final = "random"
"""The tag that asks for seeded weights instead of published ones."""

_HUB_FOLDER_FILES: Final = ("model.safetensors", "pytorch_model.bin")


def resolve(
    *,
    variant: str | None = None,
    checkpoint: Path | None = None,
    tag: str | None = None,
    seed: int = 0,
    classes: int | None = None,
    gammas: Literal["auto", "absolute", "plain"] = "auto",
    stem_slope: float | None = None,
    block_slope: float | None = None,
    trust_pickle: bool = False,
    cache_dir: Path | None = None,
    endpoint: str | None = None,
    quiet: bool = False,
) -> Source:
    """Return the one source of weights that the options name; published ones are fetched.

    ``checkpoint`` is a file or a folder of timm's hub; ``variant`` and ``classes`` then say what it
    must hold. Without it, ``tag`` chooses among the published weights of ``variant``, or is
    :data:`RANDOM`. ``cache_dir``, ``endpoint`` and ``quiet`` are those of
    :func:`tresnet_deploy.weights.published`.

    Raises:
        UsageError: the options name none or several, or no such file.
        UnknownVariantError: no such variant or tag.
        UnavailableError: the published weights cannot be fetched.
        ArtifactError: the fetched bytes are not those that were published.
    """
    row = None if variant is None else find(variant)
    asked = Source(
        kind="file",
        location="",
        sha256="",
        variant=row.name if row else None,
        classes=classes,
        gammas=gammas,
        stem_slope=stem_slope,
        block_slope=block_slope,
        trust_pickle=trust_pickle,
    )
    if checkpoint is not None:
        if tag is not None:
            raise UsageError("--checkpoint and --weights name two sources of weights: give one")
        return _file_source(asked, checkpoint)
    if row is None:
        raise UsageError(
            "which weights? Neither a checkpoint nor a variant was given",
            hints=("--checkpoint FILE", "--variant l", "--variant l --weights random"),
        )
    if tag == RANDOM:
        if gammas != "auto" or (stem_slope, block_slope) != (None, None):
            raise UsageError(
                "random weights are made with gammas and slopes of their own, which --gammas and "
                "--slopes cannot change",
                hints=("leave them out",),
            )
        return _random_source(asked, row, seed)
    return _published_source(asked, row, tag, cache_dir=cache_dir, endpoint=endpoint, quiet=quiet)


def _file_source(asked: Source, path: Path) -> Source:
    if path.is_dir():
        inside = [path / name for name in _HUB_FOLDER_FILES if (path / name).is_file()]
        if not inside:
            raise UsageError(f"folder {path} holds no {' or '.join(_HUB_FOLDER_FILES)}")
        path = inside[0]
    if not path.is_file():
        raise UsageError(f"there is no checkpoint {path}")
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return dataclasses.replace(asked, location=str(path.resolve()), sha256=digest)


def _random_source(asked: Source, row: Variant, seed: int) -> Source:
    classes = seeded.DEFAULT_CLASSES if asked.classes is None else asked.classes
    digest = seeded.description_sha256(row.name, seed=seed, classes=classes)
    return dataclasses.replace(asked, kind="random", sha256=digest, classes=classes, seed=seed)


def _published_source(
    asked: Source,
    row: Variant,
    tag: str | None,
    *,
    cache_dir: Path | None,
    endpoint: str | None,
    quiet: bool,
) -> Source:
    weights = row.find_weights(tag)
    if asked.classes not in (None, weights.classes):
        raise UsageError(
            f"{weights.repository} has {weights.classes} classes, not {asked.classes}",
            hints=("leave --classes out", "--checkpoint FILE, fine-tuned on your classes"),
        )
    path = hub.published(row.name, weights.tag, cache_dir=cache_dir, endpoint=endpoint, quiet=quiet)
    return dataclasses.replace(
        asked, kind="published", location=weights.tag, sha256=sha256_of(path)
    )


def load(
    source: Source,
    *,
    cache_dir: Path | None = None,
    endpoint: str | None = None,
    quiet: bool = False,
) -> Checkpoint:
    """Return the network of ``source``, in evaluation mode with its weights as stored.

    Raises:
        UnavailableError: PyTorch is missing, or published weights cannot be fetched.
        UsageError: the file is gone.
        ArtifactError: the file is no longer the one that ``source`` was made from.
        TResNetError: the file holds no TResNet, or another one than asked for.
    """
    _require_torch()
    if source.kind == "random":
        assert source.variant is not None
        assert source.classes is not None
        checkpoint = seeded.random_checkpoint(
            source.variant, seed=source.seed or 0, classes=source.classes
        )
        return _unchanged(checkpoint, source)
    if source.kind == "file":
        path = Path(source.location)
        if not path.is_file():
            raise UsageError(
                f"the checkpoint {path} is not there any more",
                hints=("--checkpoint FILE, where it lies now",),
            )
        return _unchanged(_load_file(path, source), source)
    assert source.variant is not None
    weights = find(source.variant).find_weights(source.location)
    path = hub.cached(weights, cache_dir=cache_dir) or hub.published(
        source.variant, source.location, cache_dir=cache_dir, endpoint=endpoint, quiet=quiet
    )
    return _unchanged(_load_published(path, weights, source), source)


def _load_file(path: Path, source: Source) -> Checkpoint:
    from tresnet import checkpoint

    # One slope alone leaves the other at the published value.
    slopes = None
    if (source.stem_slope, source.block_slope) != (None, None):
        usual = Slopes()
        slopes = Slopes(
            stem=usual.stem if source.stem_slope is None else source.stem_slope,
            block=usual.block if source.block_slope is None else source.block_slope,
        )
    return checkpoint.load(
        path,
        gammas=source.gammas,
        slopes=slopes,
        trust_pickle=source.trust_pickle,
        norm="batchnorm",
        variant=source.variant,
        classes=source.classes,
    )


def _load_published(path: Path, weights: Weights, source: Source) -> Checkpoint:
    return dataclasses.replace(
        _load_file(path, source),
        input_rule=weights.input,
        input_reason=f"as {weights.repository} was trained",
    )


def _unchanged(checkpoint: Checkpoint, source: Source) -> Checkpoint:
    if checkpoint.sha256 != source.sha256:
        raise ArtifactError(
            f"the weights {source.location or source.variant} have changed since they were named: "
            f"sha256 {(checkpoint.sha256 or '')[:12]}..., expected {source.sha256[:12]}...",
            hints=("tresnet-deploy export --overwrite, to start from the weights of now",),
        )
    return checkpoint


def _require_torch() -> None:
    try:
        importlib.import_module("torch")
    except (ImportError, OSError) as error:
        raise UnavailableError(
            f"loading weights needs PyTorch, which does not import here: {error}",
            hints=("pip install 'tresnet-deploy[pytorch]'",),
        ) from error
