"""Files, folders and names that nobody should give to `predict` and `export`, with what must be said."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hostile import GOOD, Bomb, Case, Prepare
from numpy.lib import format as npy_format
from PIL import Image

MODEL = "good.onnx"
CLASSES = [f"class {i}" for i in range(8)]
_ESC = "\x1b[2J\x1b]0;x\x07"


def make_model(path: Path, classes: Any = CLASSES, key: str = "bloodsearch") -> None:
    """Write a model that gives every image the same probabilities."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = numpy_helper.from_array(np.zeros((2352, 8), np.float32), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["float"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
        ],
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 28, 28, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 8])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {key: json.dumps({"classes": classes})})
    save(model, path)


# --- images: predicted from a folder, each is skipped with a reason ---


@dataclass(frozen=True)
class BadImage:
    """A file in a folder that `predict` must skip with these words, without a hang or a crash."""

    name: str
    file: str
    make: Callable[[Path], object]
    says: str


def _save(image: Image.Image, **options: Any) -> Callable[[Path], object]:
    return lambda path: image.save(path, **options)


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _encoded(kind: str, size: tuple[int, int] = (64, 64), mode: str = "RGB", **more: Any) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(file, kind, **more)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(chunks)


def _camera(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 64), dtype=np.uint16)
    Image.fromarray(pixels).save(path)


def _tiff_tag(tag: int, value: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        content = bytearray(_encoded("TIFF"))
        at = struct.unpack("<I", content[4:8])[0]
        n = struct.unpack("<H", content[at : at + 2])[0]
        for entry in range(at + 2, at + 2 + 12 * n, 12):
            if struct.unpack("<H", content[entry : entry + 2])[0] == tag:
                content[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, value)
        path.write_bytes(content)

    return make


_GLASS = Image.new("RGBA", (64, 64), (200, 30, 30, 0))
_TWO = {"save_all": True, "append_images": [Image.new("RGB", (64, 64), "blue")]}
_LONG_TEXT = b"k\0\0" + zlib.compress(bytes(200_000_000))
IMAGES = [
    BadImage("empty", "x.png", _bytes(b""), "cannot be read"),
    BadImage("text", "x.png", _bytes(b"hello" * 99), "cannot be read"),
    BadImage("a web page", "x.jpg", _bytes(b"<!doctype html><html>503</html>"), "cannot be read"),
    BadImage("an SVG", "x.png", _bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "cannot be read"),
    BadImage("zeros", "x.tif", _bytes(bytes(100_000)), "cannot be read"),
    BadImage("cut PNG", "x.png", _bytes(_encoded("PNG")[:3000]), "cannot be read"),
    BadImage("cut JPEG", "x.jpg", _bytes(_encoded("JPEG")[:900]), "cannot be read"),
    BadImage("cut TIFF", "x.tif", _bytes(_encoded("TIFF")[:3000]), "cannot be read"),
    BadImage("cut GIF", "x.gif", _bytes(_encoded("GIF")[:1500]), "cannot be read"),
    BadImage("cut BMP", "x.bmp", _bytes(_encoded("BMP")[:1500]), "cannot be read"),
    BadImage("cut WebP", "x.webp", _bytes(_encoded("WEBP")[:500]), "cannot be read"),
    BadImage("PNG without pixels", "x.png", _bytes(_png(64, 64)), "cannot be read"),
    BadImage("PNG of no size", "x.png", _bytes(_png(0, 0, _chunk(b"IEND", b""))), ""),
    BadImage("PNG of four gigapixels", "x.png",
             _bytes(_png(65535, 65535, _chunk(b"IDAT", b""))), "cannot be read"),
    BadImage("PNG of 150 megapixels", "x.png",
             _bytes(_png(15_000, 10_000, _chunk(b"IDAT", b""))), "at most 100,000,000"),
    BadImage("PNG with 200 MB of text", "x.png",
             _bytes(_png(64, 64, _chunk(b"zTXt", _LONG_TEXT), _chunk(b"IEND", b""))), "cannot be read"),
    BadImage("one pixel too few", "x.png", _save(Image.new("RGB", (27, 500))), "28 x 28 or more"),
    BadImage("a line", "x.png", _save(Image.new("RGB", (20_000, 1))), "28 x 28 or more"),
    BadImage("transparent", "x.png", _save(_GLASS), "transparent pixels"),
    BadImage("transparent WebP", "x.webp", _save(_GLASS, lossless=True), "transparent pixels"),
    BadImage("transparent palette", "x.png",
             _save(Image.new("P", (64, 64)), transparency=0), "transparent pixels"),
    BadImage("two frames", "x.gif", _save(Image.new("RGB", (64, 64)), **_TWO), "holds 2 images"),
    BadImage("two pages", "x.tif", _save(Image.new("RGB", (64, 64)), **_TWO), "holds 2 images"),
    BadImage("CMYK", "x.jpg", _save(Image.new("CMYK", (64, 64))), "CMYK pixels"),
    BadImage("LAB", "x.tif", _save(Image.new("LAB", (64, 64))), "LAB pixels"),
    BadImage("floats", "x.tif", _save(Image.new("F", (64, 64))), "pixels of kind F"),
    BadImage("32 bits", "x.tif", _save(Image.new("I", (64, 64))), "pixels of kind I"),
    BadImage("12-bit camera data", "x.png", _camera, "save it with 8 bits"),
    BadImage("12-bit camera TIFF", "x.tif", _camera, "save it with 8 bits"),
    BadImage("a TIFF with pixels past its end", "x.tif", _tiff_tag(273, 2**31), "cannot be read"),
    BadImage("a TIFF of a billion columns", "x.tif", _tiff_tag(256, 10**9), ""),
    BadImage("PostScript", "x.png", _bytes(_encoded("EPS")), "cannot be read"),
    BadImage("PDF", "x.png", _bytes(_encoded("PDF")), "cannot be read"),
    BadImage("a FIFO", "x.png", os.mkfifo, "not a regular file"),
    BadImage("a device without end", "x.png",
             lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    BadImage("a link to nowhere", "x.png", lambda path: path.symlink_to("nowhere"), "cannot be read"),
    BadImage("a link to itself", "x.png", lambda path: path.symlink_to("x.png"), "cannot be read"),
    BadImage("an archive", "x.png", _bytes(b"PK\x03\x04" + bytes(99)), "cannot be read"),
    BadImage("escapes in its name", f"{_ESC}.png", _bytes(b""), r"\x1b[2J\x1b]0;x\x07.png"),
    BadImage("a newline in its name", "a\nb.png", _bytes(b""), r"a\nb.png"),
    BadImage("a name turned round", "\u202egnp.exe.png", _bytes(b""), r"\u202egnp.exe.png"),
    BadImage("a name that is no text", "\udcff.png", _bytes(b""), r"\udcff.png"),
]  # fmt: skip

# --- sources, models and options: one line and an exit code ---


def _model(prepare: Prepare = lambda folder: None) -> Prepare:
    def both(folder: Path) -> None:
        make_model(folder / MODEL)
        prepare(folder)

    return both


def _source(
    name: str, source: str, code: int, *says: str, prepare: Prepare = lambda folder: None
) -> Case:
    command = ["predict", source, "--model", MODEL]
    return Case(f"predict: {name}", command, code, says, _model(prepare))


def _npz(**arrays: Any) -> Prepare:
    return lambda folder: np.savez(folder / "x.npz", **arrays)


def _endless(folder: Path) -> None:
    header = io.BytesIO()
    content = {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 28, 28, 3)}
    npy_format.write_array_header_1_0(header, content)
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())


def _raw_member(folder: Path) -> None:
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("images", b"no array")


_PIXELS = np.zeros((2, 28, 28, 3), np.uint8)
SOURCES = [
    _source("nothing", "nowhere", 2, "nowhere", "No such file"),
    _source("escapes", f"{_ESC}.png", 2, r"\x1b[2J", "No such file"),
    _source("a long name", "x" * 300, 2, "too long"),
    _source("a zero byte", "a\0b.png", 2, "null byte"),
    _source("past a file", f"{MODEL}/x.png", 2, "cannot be read"),
    _source("a FIFO", "x.png", 2, "not a regular file", prepare=lambda f: os.mkfifo(f / "x.png")),
    _source("a FIFO of arrays", "x.npz", 2, "not a regular", prepare=lambda f: os.mkfifo(f / "x.npz")),
    _source("a device", "/dev/zero", 2, "not a regular file"),
    _source("an empty folder", "x", 2, "no image in x", ".png", prepare=lambda f: (f / "x").mkdir()),
    _source("a folder of folders", "x", 2, "--recursive", prepare=lambda f: (f / "x/y").mkdir(parents=True)),
    _source("text", "x.txt", 2, "images end in", prepare=lambda f: (f / "x.txt").touch()),
    _source("an address", "https://example.org/x.png", 2, "No such file"),
    _source("pickled objects", "x.npz", 3, "images is object", prepare=_npz(images=np.array([Bomb()]))),
    _source("sealed images", "x.npz", 5, "test split", prepare=_npz(test_images=_PIXELS)),
    _source("terabytes", "x.npz", 3, "at most 1,000,000", prepare=_endless),
    _source("no array", "x.npz", 3, "cannot be read", prepare=_raw_member),
    _source("no archive", "x.npz", 3, "cannot be read", prepare=lambda f: (f / "x.npz").write_bytes(b"PK")),
    _source("floats", "x.npz", 3, "float64", "uint8", prepare=_npz(images=_PIXELS / 255)),
    _source("channels first", "x.npz", 3, "(2, 3, 28, 28)",
            prepare=_npz(images=_PIXELS.transpose(0, 3, 1, 2))),
    _source("two arrays", "x.npz", 2, "--key", "a, b", prepare=_npz(a=_PIXELS, b=_PIXELS)),
    Case("predict: an unknown key", f"predict x.npz --model {MODEL} --key {_ESC}", 2, (r"\x1b", "--key"),
         _model(_npz(images=_PIXELS))),
    Case("predict: two forms", f"predict x.npz --model {MODEL} --json --csv", 2, ("exclude each other",)),
    Case("predict: no model", "predict x.png", 2, ("--model",)),
    Case("model: missing", "predict . --model x.onnx", 2, ("no model file", "export")),
    Case("model: a folder", "predict . --model .", 2, ("no model file",)),
    Case("model: a FIFO", "predict . --model x", 2, ("no model file",), lambda f: os.mkfifo(f / "x")),
    Case("model: a device", "predict . --model /dev/zero", 2, ("no model file",)),
    Case("model: escapes", ["predict", ".", "--model", _ESC], 2, (r"\x1b[2J",)),
    Case("model: text", "predict . --model x", 3, ("not a model",), lambda f: (f / "x").write_text("hello")),
    Case("model: of another program", f"predict . --model {MODEL}", 3, ("not a model",),
         lambda f: make_model(f / MODEL, key="other")),
    Case("model: too few classes", f"predict . --model {MODEL}", 3, ("not a model",),
         lambda f: make_model(f / MODEL, CLASSES[1:])),
    Case("model: one name twice", f"predict . --model {MODEL}", 3, ("not a model",),
         lambda f: make_model(f / MODEL, ["a"] * 8)),
    Case("model: classes that are no list", f"predict . --model {MODEL}", 3, ("not a model",),
         lambda f: make_model(f / MODEL, "abcdefgh")),
    Case("export: of a search without winner", f"export tiny --storage sqlite:///{GOOD}", 5,
         ("no final evaluation", "final-eval"), good=True),
    Case("export: another format", f"export tiny --format h5 --storage sqlite:///{GOOD}", 2,
         ("--format", "onnx"), good=True),
    Case("export: replicate -1", f"export tiny --replicate -1 --storage sqlite:///{GOOD}", 2,
         ("--replicate",), good=True),
    Case("escapes as a study", ["status", _ESC, "--storage", f"sqlite:///{GOOD}"], 4,
         (r"\x1b[2J", "fresh, tiny"), good=True),
    Case("escapes as a storage", ["status", "--storage", _ESC], 4, ("not a database URL",)),
    Case("escapes as a database", ["status", "--storage", f"sqlite:///{_ESC}.db"], 4, (r"\x1b[2J",)),
    Case("escapes as data", ["data", "describe", "--data-root", _ESC], 3, (r"\x1b[2J",)),
    Case("escapes as a command", [_ESC], 2, (r"\x1b[2J", "--help")),
    Case("escapes as an option", ["status", f"--{_ESC}"], 2, (r"\x1b[2J", "--help")),
    Case("a formula as a side", ["compare", "=1+1", "@x", "--storage", f"sqlite:///{GOOD}"], 2,
         ("=1+1",), good=True),
    Case("a trial of 30 digits", f"show {'9' * 30} tiny --storage sqlite:///{GOOD}", 2, ("trial",),
         good=True),
]  # fmt: skip
