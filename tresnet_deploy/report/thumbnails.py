"""Thumbnails inside the page, so that it needs no other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final

from PIL import Image

from tresnet_deploy.errors import ImageError
from tresnet_deploy.preprocess import decode

SIDE_PX: Final = 112
_QUALITY: Final = 80


def thumbnail(path: Path) -> str:
    """Return the image as a data URI of at most 112 px, or nothing when it cannot be read.

    Small images stay pixel for pixel as they are: the page enlarges them without blurring.
    """
    try:
        image = decode(path)
    except ImageError:
        return ""
    small = max(image.size) <= SIDE_PX
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "PNG" if small else "JPEG", quality=_QUALITY, optimize=True)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
