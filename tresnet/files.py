"""Reading checkpoint files safely: this file is about bytes on disk becoming Python objects.

Files are told apart by content, not by name. Tensors stay mapped to the file, so what nobody uses
(an optimiser's state, say) is never read. Nothing in a file is executed unless the caller trusts
it.
"""

import argparse
import hashlib
import json
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Final, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from .errors import CheckpointFileError, UntrustedPickleError

_WEIGHT_NAMES: Final = ("model.safetensors", "pytorch_model.bin")  # of a hub folder, best first
_CONFIG_NAME: Final = "config.json"
_HASH_BLOCK: Final = 1 << 20
_MIB: Final = 1 << 20
_SAFETENSORS_HEADER_BYTES: Final = 8
_HEAD_BYTES: Final = 64
_LEGACY_MAGIC: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before 1.6
_REFUSED_GLOBAL: Final = re.compile(r"GLOBAL (\S+)")
_UNPICKLER_REASON: Final = re.compile(r"WeightsUnpickler error: (.+)")

# What torch's readers raise on broken input, beside the UnpicklingError handled on its own.
_BROKEN: Final = (
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """What a checkpoint file holds, before anything is understood.

    `content` is the pickled mapping, or the flat one of safetensors; `metadata` safetensors' own;
    `config` the parsed config.json beside a hub folder's weights.
    """

    path: Path
    sha256: str
    content: Mapping[str, object]
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, object] | None = None


def read_checkpoint(path: Path, *, trust_pickle: bool = False) -> CheckpointFile:
    """Everything in the file, or in the timm hub folder, at `path`.

    Raises:
        CheckpointFileError: nothing there, or no complete checkpoint.
        UntrustedPickleError: a pickle that needs more than tensors and plain containers.
    """
    path = _weights_path(path)
    head = _first_bytes(path)
    metadata: dict[str, str] = {}
    if head.startswith(b"PK"):
        _check_archive(path)
        content = _read_pickle(path, mmap=True, trusted=trust_pickle)
    elif head.startswith(_LEGACY_MAGIC):
        content = _read_pickle(path, mmap=False, trusted=trust_pickle)
    elif head[_SAFETENSORS_HEADER_BYTES : _SAFETENSORS_HEADER_BYTES + 1] == b"{":
        content, metadata = _read_safetensors(path)
    else:
        raise CheckpointFileError(f"{path} is no checkpoint: {_guess(head)}")
    config = _read_config(path) if path.name in _WEIGHT_NAMES else None
    return CheckpointFile(
        path=path, sha256=file_sha256(path), content=content, metadata=metadata, config=config
    )


def file_sha256(path: Path) -> str:
    """The hex digest of the file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _weights_path(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in _WEIGHT_NAMES:
        if (path / name).is_file():
            return path / name
    raise CheckpointFileError(
        f"folder {path} holds no {' or '.join(_WEIGHT_NAMES)}: name the checkpoint file itself"
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise CheckpointFileError(f"cannot read {path}: {error.strerror or error}") from error
    if not head:
        raise CheckpointFileError(f"{path} is empty: download or copy it again")
    return head


def _guess(head: bytes) -> str:
    if head.startswith(b"\x80"):
        return "it is a bare pickle, which may run code; save the state_dict() with torch.save"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page saved under that name; download the file itself"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run `git lfs pull` to fetch the real file"
    return (
        f"it starts with {head[:8]!r}, as neither safetensors nor torch.save does; give a "
        ".safetensors, .pth, .pt, .ckpt or .bin file, or the folder of a timm hub model"
    )


def _check_archive(path: Path) -> None:
    """Refuse zip files that torch.save did not write, before torch maps or unpacks them."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _truncated(path, error) from error
    names = {entry.filename.rsplit("/", 1)[-1] for entry in entries}
    if "constants.pkl" in names:
        raise CheckpointFileError(
            f"{path} is a TorchScript program, not weights: save its state_dict() with torch.save"
        )
    if "data.pkl" not in names:
        raise CheckpointFileError(
            f"{path} is a zip archive that torch.save did not write: unpack it and give the "
            "checkpoint inside"
        )
    # torch.save stores without compression; a small file that unpacks to terabytes is an attack.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointFileError(
            f"{path} is a compressed zip archive, which torch.save never writes: "
            "save it again with torch.save"
        )


def _truncated(path: Path, error: Exception) -> CheckpointFileError:
    mib = path.stat().st_size / _MIB
    found = _UNPICKLER_REASON.search(str(error))  # torch's first lines advise to trust the file
    reason = found[1] if found else str(error).split("\n", 1)[0] or type(error).__name__
    return CheckpointFileError(
        f"{path} is broken or truncated ({mib:.1f} MiB on disk; {reason}): "
        "download or copy it again"
    )


def _read_pickle(path: Path, *, mmap: bool, trusted: bool) -> Mapping[str, object]:
    """The mapping in a file of torch.save, without running code of the file unless trusted."""
    try:
        # timm's training script stores its options as an argparse.Namespace: a plain record.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and old storages
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except UnpicklingError as error:
        if not trusted:
            raise _untrusted(path, error) from error
        content = _read_trusted_pickle(path, mmap=mmap)
    except _BROKEN as error:
        raise _truncated(path, error) from error
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if not isinstance(content, Mapping):
        raise CheckpointFileError(
            f"{path} holds a {type(content).__name__}, not a mapping of names to tensors: "
            "save the network's state_dict()"
        )
    return {str(key): value for key, value in content.items()}


def _read_trusted_pickle(path: Path, *, mmap: bool) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False, mmap=mmap)
    except (UnpicklingError, *_BROKEN) as error:
        raise CheckpointFileError(
            f"{path} cannot be unpickled here ({type(error).__name__}: {error}): it needs the code "
            "it was saved with; save its state_dict() from there"
        ) from error


def _untrusted(path: Path, error: UnpicklingError) -> CheckpointFileError | UntrustedPickleError:
    refused = _REFUSED_GLOBAL.search(str(error))
    if refused is None:
        return _truncated(path, error)
    name = refused[1].rstrip(".,")
    return UntrustedPickleError(
        f"{path} was not loaded: its pickle calls {name}, which weights do not need and which may "
        "run any code. Only if you trust where the file comes from, load it with --trust-pickle "
        "(trust_pickle=True); safer: ask for the state_dict() alone, or for safetensors"
    )


def _read_safetensors(path: Path) -> tuple[Mapping[str, object], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _truncated(path, error) from error


def _read_config(weights: Path) -> Mapping[str, object] | None:
    path = weights.with_name(_CONFIG_NAME)
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointFileError(f"{path} is not readable as JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointFileError(f"{path} must hold a JSON object, not {type(config).__name__}")
    return cast("dict[str, object]", config)
