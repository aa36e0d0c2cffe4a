"""The disk: this file is about bytes that must reach it, and what it says when it refuses them."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from tresnet_deploy.errors import UnavailableError

# What the kernel says when a folder refuses more bytes, whatever file the error names.
_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def flush(path: Path) -> None:
    """Wait until the bytes of a file, or the names in a folder, are on the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # Windows cannot open a folder to flush it
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_about(error: OSError, folder: Path) -> bool:
    """Return whether ``folder`` is what refused, not a file that was read elsewhere."""
    named = (name for name in (error.filename, error.filename2) if isinstance(name, str))
    return error.errno in _ERRNOS or any(Path(name).is_relative_to(folder) for name in named)


def disk_error(error: OSError, folder: Path) -> UnavailableError:
    """Return ``error`` as one that names ``folder`` and says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free_mib = shutil.disk_usage(folder).free / 2**20 if folder.exists() else 0
        return UnavailableError(
            f"the disk of {folder}/ is full ({free_mib:.0f} MiB free); nothing was written",
            hints=("free some space, or choose another folder with --output",),
        )
    return UnavailableError(
        f"cannot write to {folder}/: {error.strerror or error}; nothing was written",
        hints=("choose another folder with --output",),
    )
