"""Published weights: fetched with huggingface_hub, cached, and checked against their hash.

The hub names each large file by the sha256 of its bytes (the ETag of Git LFS), and its cache keeps
the file under that name. So a file is checked even when the table of variants knows no hash, and
again on each later use, without a network. Where the cache cannot make links, that name is lost,
and an unknown hash can only be checked while the hub answers.
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tresnet.variants import Weights, find
from tresnet_deploy import __version__
from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.errors import ArtifactError, UnavailableError

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_SHA256 = re.compile(r"[0-9a-f]{64}")
# One small answer. Without a network the user should read about the ways out in seconds, and the
# hub's own retries take minutes.
_ANSWER_LIMIT_S = 5.0
_TOOL = "tresnet-deploy"
_log = logging.getLogger(__name__)


def published(
    variant: str,
    tag: str | None = None,
    *,
    cache_dir: Path | None = None,
    endpoint: str | None = None,
    quiet: bool = False,
) -> Path:
    """Return the file of the published weights of ``variant``, fetched if it is not cached.

    ``cache_dir`` and ``endpoint`` are huggingface_hub's own unless given; ``quiet`` turns its
    progress bars off.

    Raises:
        UnknownVariantError: no such variant, or it has no weights of that tag.
        UnavailableError: not cached, and the hub cannot be reached or does not give the file.
        ArtifactError: the bytes are not those that were published.
    """
    weights = find(variant).find_weights(tag)
    hub = _imported(weights)
    if quiet:
        hub.utils.disable_progress_bars()
    unreachable = _unreachable()
    try:
        offer = _ask(weights, endpoint)
    except unreachable as error:
        path = cached(weights, cache_dir=cache_dir)
        if path is None:
            raise _unavailable(weights, error, endpoint) from error
        _log.info("%s: %s; the cached file is used", weights.repository, _reason(error))
        return path
    try:
        return _fetch(weights, offer, cache_dir, endpoint)
    except unreachable as error:
        raise _unavailable(weights, error, endpoint) from error


def _unreachable() -> tuple[type[Exception], ...]:
    """Return what is raised where the hub cannot be reached, a proxy of wrong words included."""
    # The base class of all errors of the hub's HTTP library, which changed between its versions.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    # ImportError: a proxy of a kind that needs another package.
    known: tuple[type[Exception], ...] = (HTTPError, OSError, ImportError, ValueError)
    library = sys.modules[HTTPError.__module__.partition(".")[0]]
    return (*known, getattr(library, "InvalidURL", HTTPError))  # no HTTPError in some libraries


def cached(weights: Weights, *, cache_dir: Path | None = None) -> Path | None:
    """Return the cached file of ``weights`` after checking its hash; None when there is none.

    Raises:
        ArtifactError: the cached bytes are not those that were published.
    """
    hub = _imported(weights)
    found = hub.try_to_load_from_cache(weights.repository, weights.file, cache_dir=cache_dir)
    if not isinstance(found, str):
        return None
    path = Path(found)
    expected = weights.sha256 or path.resolve().name
    if _SHA256.fullmatch(expected) and sha256_of(path) != expected:
        raise ArtifactError(
            f"{path} is damaged: its sha256 is not {expected[:12]}..., as published",
            hints=(f"delete {path.resolve()} and run this again with a network",),
        )
    return path


def cache_folder() -> Path | None:
    """Return where huggingface_hub keeps its files, or None where it is not installed."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return None
    return Path(constants.HF_HUB_CACHE)


def _ask(weights: Weights, endpoint: str | None) -> HfFileMetadata:
    """Return what the hub says of the file, from one short request."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    return get_hf_file_metadata(
        hf_hub_url(weights.repository, weights.file, endpoint=endpoint),
        timeout=_ANSWER_LIMIT_S,
        library_name=_TOOL,
        library_version=__version__,
        endpoint=endpoint,
    )


def _fetch(
    weights: Weights, offer: HfFileMetadata, cache_dir: Path | None, endpoint: str | None
) -> Path:
    """Return the cached or downloaded file; bytes of another hash are fetched once more."""
    from huggingface_hub import hf_hub_download

    expected = weights.sha256 or offer.etag or ""
    if not _SHA256.fullmatch(expected):
        raise _unavailable(weights, ValueError("it names no sha256 of the file"), endpoint)
    for again in (False, True):
        path = Path(
            hf_hub_download(
                weights.repository,
                weights.file,
                cache_dir=cache_dir,
                endpoint=endpoint,
                force_download=again,
                etag_timeout=_ANSWER_LIMIT_S,
                library_name=_TOOL,
                library_version=__version__,
            )
        )
        if sha256_of(path) == expected:
            return path
        _log.warning("%s is not the file that was published", path)
    path.resolve().unlink()
    raise ArtifactError(
        f"{weights.repository}: the server gave a file whose sha256 is not {expected[:12]}..., "
        "as published; it was deleted",
        hints=("check the proxy or mirror between here and the hub", *_ways_out(weights)),
    )


def _imported(weights: Weights) -> ModuleType:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise UnavailableError(
            f"{weights.repository} cannot be fetched here: {error}",
            hints=("pip install 'tresnet-deploy[pytorch]'", *_ways_out(weights)),
        ) from error


def _unavailable(weights: Weights, error: Exception, endpoint: str | None) -> UnavailableError:
    from huggingface_hub import constants

    if isinstance(error, OSError) and error.errno is not None:
        return UnavailableError(
            f"the weights {weights.repository} cannot be put into the cache "
            f"{constants.HF_HUB_CACHE}: {error.strerror}",
            hints=("HF_HOME=FOLDER in the environment, to move the cache", *_ways_out(weights)),
        )
    return UnavailableError(
        f"the weights {weights.repository} are not in the cache, and "
        f"{endpoint or constants.ENDPOINT} did not give them: {_reason(error)}",
        hints=_ways_out(weights),
    )


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return f"it answered {error.response.status_code} {error.response.reason_phrase}"
    return str(error).partition("\n")[0] or type(error).__name__


def _ways_out(weights: Weights) -> tuple[str, ...]:
    return (
        "--checkpoint FILE, with weights that you have",
        f"hf download {weights.repository} {weights.file}, where there is a network, and copy "
        "~/.cache/huggingface from there to here",
        "--weights random --seed 0, which shows speed and size but classifies nothing",
    )
