"""The model sees the pixels that the person sees, or the image is refused."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence

from bloodsearch.search.errors import UsageError
from bloodsearch.search.images.read import Images, _eight_bits, read_image
from bloodsearch.search.model_file.sources import list_sources

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (28, 28, 3), dtype=np.uint8)


def seen(path: Path) -> Images:
    item = read_image(path)
    assert item.image is not None, item.problem
    assert item.image.shape == (28, 28, 3)
    assert item.image.dtype == np.uint8
    return item.image


def refused(path: Path, words: str) -> None:
    item = read_image(path)
    assert item.image is None
    assert words in item.problem
    assert "\n" not in item.problem


# --- orientation ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_an_image_is_turned_as_its_exif_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(PIXELS).save(path, exif=exif, lossless=True)
    stored = PIXELS
    expected = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1],
        5: stored.swapaxes(0, 1), 6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).swapaxes(0, 1), 8: np.rot90(stored),
    }[orientation]  # fmt: skip
    np.testing.assert_array_equal(seen(path), expected)


def test_a_photograph_is_turned_before_its_centre_is_taken(tmp_path: Path) -> None:
    photograph = RNG.integers(0, 256, (363, 360, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.rot90(photograph, -1)).save(tmp_path / "upright.png")
    np.testing.assert_array_equal(seen(tmp_path / "turned.png"), seen(tmp_path / "upright.png"))


def test_a_damaged_exif_block_turns_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(PIXELS).save(path, exif=b"Exif\0\0MM\0*\0\0\0\xff" + b"\xff" * 40)
    np.testing.assert_array_equal(seen(path), PIXELS)


# --- transparency ---


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA-gif", "tRNS"])
def test_what_hides_under_transparent_pixels_is_not_shown_to_the_model(
    tmp_path: Path, mode: str
) -> None:
    path = tmp_path / ("x.gif" if mode == "PA-gif" else "x.png")
    alpha = np.full((28, 28), 255, np.uint8)
    alpha[:4] = 0
    image = Image.fromarray(np.dstack([PIXELS, alpha]))
    if mode == "LA":
        image = image.convert("LA")
    elif mode in ("P", "PA-gif"):
        image = image.quantize(16)
    options: dict[str, Any] = {}
    if mode == "PA-gif":
        options = {"transparency": int(np.asarray(image)[0, 0])}
    if mode == "tRNS":
        flat = PIXELS.copy()
        flat[:4] = (1, 2, 3)
        image, options = Image.fromarray(flat), {"transparency": (1, 2, 3)}
    image.save(path, **options)
    refused(path, "has transparent pixels")


def test_an_alpha_channel_without_transparent_pixels_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.dstack([PIXELS, np.full((28, 28), 255, np.uint8)])).save(path)
    np.testing.assert_array_equal(seen(path), PIXELS)


def test_transparent_pixels_outside_the_centre_do_no_harm(tmp_path: Path) -> None:
    photograph = np.full((300, 300, 4), 255, np.uint8)
    photograph[:40, :, 3] = 0
    Image.fromarray(photograph).save(tmp_path / "x.png")
    assert (seen(tmp_path / "x.png") == 255).all()


# --- more than 8 bits ---


def png16(values: np.ndarray, colour: int, more: bytes = b"") -> bytes:
    """A 16-bit PNG of `values` (28, 28) or (28, 28, 3), which Pillow cannot write in RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 28, 28, 16, colour, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + end


def tiff(values: np.ndarray, bits: int, **tags: int) -> bytes:
    """An uncompressed little-endian TIFF of `values` (28, 28) or (28, 28, 3), uint16 or packed bytes."""
    samples = 3 if values.ndim == 3 else 1
    data = values.astype("<u2").tobytes()
    if bits == 12:
        text = "".join(f"{v:012b}" for v in values.ravel())
        data = int(text, 2).to_bytes(len(text) // 8, "big")
    entries = {
        256: (28,), 257: (28,), 258: (bits,) * samples, 259: (1,),
        262: (tags.get("photometric", 2 if samples == 3 else 1),),
        273: (8,), 277: (samples,), 278: (28,), 279: (len(data),),
    }  # fmt: skip
    if "planar" in tags:
        data = values.transpose(2, 0, 1).astype("<u2").tobytes()
        plane = len(data) // samples
        entries |= {
            273: tuple(8 + plane * i for i in range(samples)), 279: (plane,) * samples, 284: (2,)
        }  # fmt: skip
    if "maximum" in tags:
        entries[281] = (tags["maximum"],) * samples
    at = 8 + len(data) + 2 + 12 * len(entries) + 4
    directory, extra = struct.pack("<H", len(entries)), b""
    for tag, value in sorted(entries.items()):
        if len(value) > 2:
            field = struct.pack("<I", at + len(extra))
            extra += struct.pack(f"<{len(value)}H", *value)
        else:
            field = struct.pack("<2H", *(*value, 0)[:2])
        directory += struct.pack("<HHI", tag, 3, len(value)) + field
    start = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return start + data + directory + struct.pack("<I", 0) + extra


WIDE = PIXELS.astype(np.uint16) * 257
CASES = {
    "png rgb": ("png", png16(WIDE, 2), PIXELS),
    "png gray": ("png", png16(WIDE[..., 0], 0), PIXELS[..., :1]),
    "tiff rgb": ("tif", tiff(WIDE, 16), PIXELS),
    "tiff gray": ("tif", tiff(WIDE[..., 0], 16), PIXELS[..., :1]),
    "tiff gray, white is zero": (
        "tif", tiff(65535 - WIDE[..., 0], 16, photometric=0), PIXELS[..., :1],
    ),
    "tiff gray, 12 bits packed": (
        "tif", tiff(PIXELS[..., 0].astype(np.uint16) * 16, 12), PIXELS[..., :1],
    ),
    "tiff with its maximum": ("tif", tiff(WIDE, 16, maximum=65535), PIXELS),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_more_bits_are_scaled(tmp_path: Path, name: str) -> None:
    suffix, content, expected = CASES[name]
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    np.testing.assert_array_equal(seen(path), np.broadcast_to(expected, (28, 28, 3)))


CAMERA = PIXELS.astype(np.uint16) * 16


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("tif", tiff(CAMERA, 16)),
        ("tif", tiff(CAMERA[..., 0], 16)),
        ("tif", tiff(CAMERA * 4, 16)),
        ("tif", tiff(CAMERA, 16, maximum=4095)),
        ("tif", tiff(WIDE, 16, maximum=4095)),
        ("png", png16(CAMERA, 2)),
        ("png", png16(CAMERA[..., 0], 0)),
    ],
    ids=["rgb", "gray", "14 bits", "maximum", "maximum and outliers", "png", "png gray"],
)
def test_camera_data_of_12_bits_are_not_taken_for_a_black_image(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    refused(path, "uses only the lowest, as camera data do; save it with 8 bits")


def test_planes_of_16_bits_are_refused(tmp_path: Path) -> None:
    """Pillow 13 reads each plane as 8 bits: a picture of noise, without an error."""
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(WIDE, 16, planar=1))
    refused(path, "stores 16-bit colours plane by plane; save it with 8 bits per channel")


def test_gray_of_16_bits_keeps_its_colour_profile() -> None:
    image = Image.fromarray(WIDE[..., 0])
    image.info["icc_profile"] = b"a profile"
    assert image.mode == "I;16"
    assert _eight_bits(image, 16, {}).info["icc_profile"] == b"a profile"


def test_a_transparent_colour_of_16_bits_is_refused(tmp_path: Path) -> None:
    data = struct.pack(">4s3H", b"tRNS", 1, 2, 3)
    more = struct.pack(">I", 6) + data + struct.pack(">I", zlib.crc32(data))
    (tmp_path / "x.png").write_bytes(png16(WIDE, 2, more))
    refused(tmp_path / "x.png", "a transparent colour")


# --- other kinds of pixels ---


@pytest.mark.parametrize("mode", ["L", "P", "1", "YCbCr"])
def test_kinds_of_pixels_with_one_meaning(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    image.save(tmp_path / "x.tif")
    np.testing.assert_array_equal(seen(tmp_path / "x.tif"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("CMYK", "tif"), ("LAB", "tif")])
def test_colours_that_depend_on_the_viewer_are_refused(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    Image.new(mode, (30, 30)).save(tmp_path / f"x.{suffix}")
    refused(tmp_path / f"x.{suffix}", f"has {mode} pixels")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_numbers_without_a_scale_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (30, 30)).save(tmp_path / "x.tif")
    refused(tmp_path / "x.tif", f"has pixels of kind {mode}")


def test_a_colour_profile_is_applied(tmp_path: Path) -> None:
    lab = ImageCms.createProfile("sRGB")
    plain = ImageCms.ImageCmsProfile(lab).tobytes()
    Image.fromarray(PIXELS).save(tmp_path / "srgb.png", icc_profile=plain)
    np.testing.assert_array_equal(seen(tmp_path / "srgb.png"), PIXELS)
    # the same profile with red and green exchanged: as a viewer shows it, they are exchanged
    swapped = bytearray(plain)
    at = {bytes(plain[i : i + 4]): i for i in range(132, 132 + 12 * plain[131], 12)}
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    name = swapped.find("sRGB".encode("utf-16-be"))
    if name >= 0:
        swapped[name : name + 8] = "test".encode("utf-16-be")
    Image.fromarray(PIXELS).save(tmp_path / "swapped.png", icc_profile=bytes(swapped))
    found = seen(tmp_path / "swapped.png").astype(int)
    assert np.abs(found - PIXELS[..., [1, 0, 2]]).max() <= 2
    Image.fromarray(PIXELS).save(tmp_path / "damaged.png", icc_profile=b"no profile")
    np.testing.assert_array_equal(seen(tmp_path / "damaged.png"), PIXELS)


def test_a_phones_picture_is_its_first(tmp_path: Path) -> None:
    first = Image.new("RGB", (60, 60), (200, 10, 10))
    second = Image.new("RGB", (60, 60), (10, 10, 200))
    first.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.format == "MPO"
        assert len(list(ImageSequence.Iterator(image))) == 2
    assert seen(tmp_path / "x.jpg")[..., 0].min() > 190


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_an_animation_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    frames = [Image.new("RGB", (30, 30), colour) for colour in ("red", "blue", "green")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    refused(path, "holds 3 images")


@pytest.mark.parametrize("suffix", ["bmp", "webp", "gif"])
def test_more_formats_are_read(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(PIXELS)
    if suffix == "gif":
        image = image.quantize(64)
    image.save(tmp_path / f"x.{suffix}", lossless=True)
    np.testing.assert_array_equal(seen(tmp_path / f"x.{suffix}"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["PPM", "EPS", "ICO", "PDF", "JPEG2000"])
def test_other_formats_under_an_images_name_are_refused(tmp_path: Path, kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(PIXELS).resize((32, 32)).save(file, kind)
    (tmp_path / "x.png").write_bytes(file.getvalue())
    refused(tmp_path / "x.png", "cannot be read")


# --- files that are none ---


@pytest.mark.timeout(10)
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    path = tmp_path / "s.png"
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(tmp_path)  # a socket's path is short
        server.bind(path.name)
        for name in ("fifo", "zero", "folder", "s"):
            refused(tmp_path / f"{name}.png", "is not a regular file")
        for name in ("gone", "loop"):
            refused(tmp_path / f"{name}.png", "cannot be read")
        for name in ("fifo", "zero", "s"):
            with pytest.raises(UsageError, match="not a regular file"):
                list_sources(tmp_path / f"{name}.png")


def test_a_folder_says_what_it_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    names = ["a.png", "b.bmp", "c.webp", "d.gif", "e.heic", "notes.txt", ".f.png", "sub/g.png",
             "sub/deep/h.JPG", ".hidden/i.png"]  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "round").symlink_to(tmp_path)
    plain = list_sources(tmp_path)
    assert [p.name for p in plain.files] == ["a.png", "b.bmp", "c.webp", "d.gif"]
    assert [p.name for p in plain.left_out] == ["e.heic", "notes.txt", "round", "sub"]
    deep = list_sources(tmp_path, recursive=True)
    assert [p.name for p in deep.files] == ["a.png", "b.bmp", "c.webp", "d.gif", "h.JPG", "g.png"]
    assert [p.name for p in deep.left_out] == ["e.heic", "notes.txt", "round"]


def test_a_folder_of_folders_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.png").touch()
    with pytest.raises(UsageError, match=r"no image in .*; --recursive reads the folders in it"):
        list_sources(tmp_path)
    assert len(list_sources(tmp_path, recursive=True).files) == 1


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "gone/x.png", "file/x.png"])
def test_paths_that_lead_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be read"):
        list_sources(tmp_path / name)
