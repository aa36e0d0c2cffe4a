"""Decoding: whatever image file people have becomes upright 8-bit RGB, or an error."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tresnet_deploy.errors import ImageError
from tresnet_deploy.preprocess import decode

RED, WHITE = (255, 0, 0), (255, 255, 255)


def corner(path: Path) -> tuple[int, ...]:
    image = decode(path)
    assert image.mode == "RGB"
    colour = image.getpixel((0, 0))
    assert isinstance(colour, tuple)
    return colour


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((24, 48, 3), np.uint8)
    upright[:12, :24] = 255  # white top left quarter
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(upright)
    if orientation in undo:
        stored = stored.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(decode(tmp_path / "photo.png")), upright)


def test_a_damaged_exif_block_does_not_cost_the_image(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (8, 8), RED).save(path, exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff")
    assert corner(path)[0] > 250


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    red, green, blue = corner(tmp_path / "print.jpg")
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (32768, 128), (65535, 255)])
def test_16_bit_grey_is_scaled_to_8_bit_and_not_clipped(
    tmp_path: Path, value: int, expected: int
) -> None:
    Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / "scan.png")
    assert corner(tmp_path / "scan.png") == (expected,) * 3


def test_16_bit_rgb_is_scaled_to_8_bit(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(png(2, 16, struct.pack(">3H", 65535, 32768, 0)))
    assert corner(tmp_path / "scan.png") == (255, 128, 0)


def test_32_bit_pixels_are_refused_because_their_range_is_unknown(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "depth.tiff")
    with pytest.raises(ImageError, match=r"32-bit pixels from 70000 to 70000"):
        decode(tmp_path / "depth.tiff")


def test_floating_point_pixels_are_refused_because_their_range_is_unknown(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "depth.tiff")
    with pytest.raises(ImageError, match="floating-point"):
        decode(tmp_path / "depth.tiff")


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr"])
def test_other_colour_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (8, 8), WHITE).convert(mode).save(tmp_path / "image.tiff")
    assert corner(tmp_path / "image.tiff") == WHITE


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGBA", (4, 4), (0, 0, 0, 0)),
        Image.new("LA", (4, 4), (0, 0)),
        Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert("P"),
    ],
    ids=["RGBA", "LA", "P"],
)
def test_transparent_pixels_are_laid_on_white(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "logo.png")
    assert corner(tmp_path / "logo.png") == WHITE


def test_half_transparent_pixels_are_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 51)).save(tmp_path / "logo.png")
    assert corner(tmp_path / "logo.png") == (204, 204, 204)


def test_a_transparent_colour_of_an_rgb_file_is_white(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), RED).save(tmp_path / "logo.png", transparency=RED)
    assert corner(tmp_path / "logo.png") == WHITE


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tiff"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), (0, 0, 255))
    first.save(path, save_all=True, append_images=[second], **options)
    assert corner(path) == RED


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[: whole.tell() // 2])
    with pytest.raises(ImageError, match=r"cut\.jpg cannot be decoded: image file is truncated"):
        decode(tmp_path / "cut.jpg")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg is empty"):
        decode(tmp_path / "empty.jpg")


def test_a_text_with_an_image_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.jpg").write_text("not an image at all")
    with pytest.raises(ImageError, match=r"note\.jpg is no image of these formats: BMP"):
        decode(tmp_path / "note.jpg")


def test_postscript_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(ImageError, match="is no image"):
        decode(tmp_path / "program.png")


@pytest.mark.parametrize("side", [9_500, 20_000], ids=["warned by Pillow", "refused by Pillow"])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png(0, 1, b"", size=side))
    with pytest.raises(ImageError, match=r"bomb\.png has more than 89,478,485 pixels"):
        decode(tmp_path / "bomb.png")


def test_a_folder_with_an_image_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be decoded: Is a directory"):
        decode(tmp_path)


def test_a_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to("nowhere")
    with pytest.raises(ImageError, match="cannot be decoded: No such file"):
        decode(tmp_path / "link.jpg")


def test_a_file_without_read_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(path)
    path.chmod(0)
    nobody = 65534
    before = os.geteuid()
    if before == 0:  # root may read everything, so step down
        os.seteuid(nobody)
    try:
        with pytest.raises(ImageError, match="cannot be decoded: Permission denied"):
            decode(path)
    finally:
        os.seteuid(before)


def png(colour_type: int, depth: int, pixel: bytes, size: int = 1) -> bytes:
    """A PNG of ``size`` squared; its data holds one pixel only."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">2I5B", size, size, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"\0" + pixel)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
