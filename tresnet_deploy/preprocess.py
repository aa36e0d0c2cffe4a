"""From an image file to what a graph takes: the one place that applies a :class:`Preprocess`.

Sizes are those of torchvision's ``Resize`` of the short side and ``CenterCrop``, filters are
Pillow's with antialiasing, so that accuracies published with timm and MIIL's code carry over.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tresnet.architecture import MIN_IMAGE_PX, SPACE_TO_DEPTH_BLOCK, InputRule
from tresnet_deploy.contracts import Array, Layout, Preprocess
from tresnet_deploy.errors import ImageError, UnavailableError, UsageError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are decoded; never PostScript and other programs."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_WHITE = (255, 255, 255, 255)
_MAX_8_BIT = 255
_MAX_16_BIT = 65535
_16_TO_8_BIT = 257  # 65535 / 255
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow's decoders were seen to raise for broken files, beside OSError.
_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the image may be whole
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
)


def from_rule(
    rule: InputRule,
    *,
    size: tuple[int, int] | None = None,
    layout: Layout = "float32-nchw",
    normalize_in_graph: bool = False,
) -> Preprocess:
    """Return the preprocessing that weights with this ``rule`` want.

    ``size`` is (height, width) in pixels where it is not the rule's own square.

    Raises:
        UsageError: TResNet cannot take that size, or the rule is none that is known.
    """
    height_px, width_px = size or (rule.image_px, rule.image_px)
    for side, pixels in (("height", height_px), ("width", width_px)):
        if pixels < MIN_IMAGE_PX or pixels % SPACE_TO_DEPTH_BLOCK:
            fitting = max(round(pixels / SPACE_TO_DEPTH_BLOCK) * SPACE_TO_DEPTH_BLOCK, MIN_IMAGE_PX)
            raise UsageError(
                f"image {side} {pixels} px: TResNet takes multiples of {SPACE_TO_DEPTH_BLOCK} "
                f"from {MIN_IMAGE_PX} px up",
                hints=(f"--image-size {fitting}",),
            )
    if not 0 < rule.crop_pct <= 1:
        raise UsageError(f"crop_pct {rule.crop_pct} must be above 0 and at most 1")
    for known in get_args(Interpolation):
        if known == rule.interpolation:
            return Preprocess(
                height_px=height_px,
                width_px=width_px,
                resize=rule.resize,
                crop_pct=rule.crop_pct,
                interpolation=known,
                mean=rule.mean,
                std=rule.std,
                layout=layout,
                normalize_in_graph=normalize_in_graph,
            )
    raise UsageError(
        f"interpolation {rule.interpolation!r} is not known; "
        f"there are: {', '.join(get_args(Interpolation))}"
    )


def digest(preprocess: Preprocess) -> str:
    """Return the sha256 of all fields: equal exactly when two preprocessings are."""
    return hashlib.sha256(msgspec.json.encode(preprocess, order="sorted")).hexdigest()


def decode(path: Path) -> Image.Image:
    """Return the picture in ``path`` as 8-bit RGB, upright.

    The EXIF rotation is applied; of an animation the first frame is taken; transparent pixels are
    laid on white, as viewers show them; 16-bit values are scaled to 8; CMYK becomes RGB by Pillow's
    plain formula, as torchvision's and timm's loaders do, without colour profiles.

    Raises:
        ImageError: the file cannot be read, is no image of :data:`FORMATS`, is truncated, or has
            more than ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.
    """
    return pixels(open_header(path), path)


def open_header(path: Path) -> Image.Image:
    """Return the picture in ``path`` with its header read and its pixels not yet decoded.

    Of the two halves of :func:`decode` this one changes Python's warning filters for a moment, so
    it runs in one thread; :func:`pixels` may run in any.

    Raises:
        ImageError: as :func:`decode`.
    """
    with _explained(path), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        return Image.open(path, formats=FORMATS)


def pixels(image: Image.Image, path: Path) -> Image.Image:
    """Decode the pixels of an opened ``image``, close it, and return it as upright RGB.

    Raises:
        ImageError: as :func:`decode`.
    """
    with _explained(path), image:
        image.load()
        return _as_rgb(_upright(image), path)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except _BOMBS as error:
        raise ImageError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels: refused as a "
            "decompression bomb",
            hints=("scale the image down first",),
        ) from error
    except UnidentifiedImageError as error:
        empty = path.is_file() and not path.stat().st_size
        reason = "is empty" if empty else f"is no image of these formats: {', '.join(FORMATS)}"
        raise ImageError(f"{path} {reason}") from error
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            raise UnavailableError(
                f"{path} cannot be opened: {error.strerror}", hints=("ulimit -n 4096",)
            ) from error
        cause = error.strerror if isinstance(error, OSError) else None
        raise ImageError(f"{path} cannot be decoded: {cause or error}") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (*_BROKEN, UserWarning):
        return image  # a damaged EXIF block says nothing about the pixels


def _as_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray(_from_16_bit(np.asarray(image), path)).convert("RGB")
    if image.mode == "F":
        raise ImageError(
            f"{path} holds floating-point pixels, whose range is not known",
            hints=("save it as an 8-bit image first",),
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(values: Array, path: Path) -> Array:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _MAX_16_BIT:
        raise ImageError(
            f"{path} holds 32-bit pixels from {low} to {high}, whose range is not known",
            hints=("save it as an 8-bit image first",),
        )
    return np.round(values / _16_TO_8_BIT).astype(np.uint8)


def apply(image: Image.Image, preprocess: Preprocess) -> Array:
    """Return one RGB ``image`` as the graph wants it.

    "float32-nchw": (3, H, W) float32, ``(x / 255 - mean) / std``, or ``x / 255`` where the graph
    itself normalises. "uint8-nhwc": (H, W, 3) uint8, the pixels as they are: such a graph does the
    division and the normalising. ``mean`` and ``std`` are in the channel order of the graph.

    Raises:
        ImageError: the image is so narrow that resizing its short side would fill the memory.
    """
    values = np.asarray(_fit(image, preprocess))  # (H, W, 3)
    if preprocess.color_order == "bgr":
        values = values[:, :, ::-1]
    if preprocess.layout == "uint8-nhwc":
        return np.ascontiguousarray(values)
    scaled = np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)  # (3, H, W)
    scaled /= np.float32(_MAX_8_BIT)
    if not preprocess.normalize_in_graph:
        scaled -= np.asarray(preprocess.mean, dtype=np.float32)[:, None, None]
        scaled /= np.asarray(preprocess.std, dtype=np.float32)[:, None, None]
    return scaled


def _fit(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """Return ``image`` at (width_px, height_px) by the resize rule."""
    width, height = preprocess.width_px, preprocess.height_px
    filter_ = _FILTERS[preprocess.interpolation]
    if preprocess.resize == "squish":
        return image.resize((width, height), filter_)
    inner_width = int(width / preprocess.crop_pct)  # truncated, as MIIL's code and timm do
    inner_height = int(height / preprocess.crop_pct)
    if inner_width * image.height >= inner_height * image.width:
        resized = (inner_width, inner_width * image.height // image.width)
    else:
        resized = (inner_height * image.width // image.height, inner_height)
    if resized[0] * resized[1] > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ImageError(
            f"an image of {image.width} x {image.height} px is too narrow: at the size of the crop "
            f"it would have {resized[0] * resized[1]:,} pixels"
        )
    left = round((resized[0] - width) / 2)
    top = round((resized[1] - height) / 2)
    return image.resize(resized, filter_).crop((left, top, left + width, top + height))
