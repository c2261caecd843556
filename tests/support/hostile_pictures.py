"""Pictures and tables that cannot be imported, each with the words of the one line it must get.

Each case starts from a folder `cells` with the classes a and b, six pictures each, that can be imported.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hostile import Case
from PIL import Image

RNG = np.random.default_rng(7)
N = 6
Break = Callable[[Path], object]


def picture(path: Path, size: tuple[int, int] = (16, 12), mode: str = "RGB") -> Path:
    """Write a picture that no other picture equals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = {"RGB": (3,), "RGBA": (4,), "L": ()}[mode]
    Image.fromarray(RNG.integers(0, 256, (size[1], size[0], *bands), dtype=np.uint8)).save(path)
    return path


def cells(folder: Path, *, inside: str = "", classes: str = "ab", n: int = N) -> Path:
    """Write cells/[inside/]CLASS/0.png ... and return the folder `cells`."""
    for name in classes:
        for i in range(n):
            picture(folder / "cells" / inside / name / f"{i}.png")
    return folder / "cells"


def splits(folder: Path) -> Path:
    """Write cells/train, cells/val and cells/test with the same classes, and return the folder `cells`."""
    for split in ("train", "val", "test"):
        cells(folder, inside=split, n=3)
    return folder / "cells"


def table(folder: Path, text: str | bytes | None = None, *, header: str = "path,label") -> Path:
    """Write cells.csv beside the pictures: `text`, or a line for each picture."""
    cells(folder)
    if text is None:
        text = "\n".join(f"cells/{c}/{i}.png,{c}" for c in "ab" for i in range(N))
    raw = text if isinstance(text, bytes) else f"{header}\n{text}\n".encode()
    (folder / "cells.csv").write_bytes(raw)
    return folder / "cells.csv"


def _folder(name: str, broken: Break, *says: str, more: str = "", code: int = 3) -> Case:
    """Return a case in which `broken` spoils the folder `cells`."""
    command = f"data import cells --out cells.npz {more}"
    return Case(f"import: {name}", command, code, says, lambda folder: broken(cells(folder)))


def _file(name: str, write: Break, *says: str) -> Case:
    """Return a case in which one file, cells/a/5.png or as `write` calls it, cannot be read."""
    return _folder(name, lambda f: write(f / "a" / "5.png"), *says, "--skip-unreadable")


def _table(
    name: str, text: str | bytes, *says: str, header: str = "path,label", more: str = ""
) -> Case:
    command = f"data import cells.csv --out cells.npz {more}"
    return Case(
        f"import table: {name}", command, 3, ("cells.csv", *says),
        lambda folder: table(folder, text, header=header),
    )  # fmt: skip


def _option(name: str, more: str, *says: str, code: int = 2) -> Case:
    return _folder(f"option {name}", lambda f: None, *says, more=more, code=code)


def _custom(name: str, command: str, code: int, prepare: Break, *says: str) -> Case:
    return Case(f"import: {name}", command, code, says, prepare)


# --- what spoils a folder ---


def _bytes(content: bytes) -> Break:
    return lambda path: path.write_bytes(content)


def _truncated(path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
    path.unlink()
    path.with_suffix(".jpg").write_bytes(file.getvalue()[: len(file.getvalue()) // 2])


def _frames(suffix: str) -> Break:
    def write(path: Path) -> None:
        frames = [Image.new("L", (16, 16), shade) for shade in (10, 90, 200)]
        path.unlink()
        frames[0].save(path.with_suffix(suffix), save_all=True, append_images=frames[1:])

    return write


def _float(path: Path) -> None:
    path.unlink()
    levels = RNG.random((16, 16), dtype=np.float32)
    Image.fromarray(levels).save(path.with_suffix(".tif"))


def _dark(path: Path) -> None:
    levels = RNG.integers(0, 4096, (16, 16)).astype(np.uint16)
    Image.fromarray(levels).save(path)


def _bomb(path: Path) -> None:
    """Write a PNG file of a few bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _clear(path: Path) -> None:
    Image.new("RGBA", (16, 16), (90, 90, 90, 0)).save(path)


def _replaced(make: Break) -> Break:
    def write(path: Path) -> None:
        path.unlink()
        make(path)

    return write


def _mixed(folder: Path) -> None:
    picture(folder / "a" / "gray.png", mode="L")


def _twice(folder: Path) -> None:
    (folder / "b" / "copy.png").write_bytes((folder / "a" / "0.png").read_bytes())


def _one(folder: Path) -> None:
    picture(folder / "rare" / "0.png")


def _copies(folder: Path) -> None:
    for i in range(5):
        (folder / "a" / f"{i + 1}.png").write_bytes((folder / "a" / "0.png").read_bytes())


def _constant(folder: Path) -> None:
    for i, path in enumerate(sorted(folder.rglob("*.png"))):
        Image.new("RGB", (16, 16), (i, i, i)).save(path)


def _latin(folder: Path) -> None:
    os.rename(os.fsencode(folder / "b"), os.fsencode(folder) + b"/caf\xe9")


def _latin_file(folder: Path) -> None:
    os.rename(os.fsencode(folder / "b" / "0.png"), os.fsencode(folder / "b") + b"/caf\xe9.png")


def _without(split: str) -> Break:
    def make(folder: Path) -> None:
        for path in sorted((splits(folder) / split).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (folder / "cells" / split).rmdir()

    return make


def _class_missing(folder: Path) -> None:
    for path in sorted((splits(folder) / "val" / "b").iterdir()):
        path.unlink()
    (folder / "cells" / "val" / "b").rmdir()


def _split_and_class(folder: Path) -> None:
    picture(splits(folder) / "c" / "0.png")


def _both_vals(folder: Path) -> None:
    picture(splits(folder) / "valid" / "a" / "0.png")


def _many(folder: Path) -> None:
    for i in range(300):
        picture(folder / "cells" / f"c{i}" / "0.png")


def _loose(folder: Path) -> None:
    for i in range(4):
        picture(folder / "cells" / f"{i}.png")


FOLDERS = [
    _folder("gray among colours", _mixed, "a/gray.png", "--channels 1", "--channels 3"),
    _folder("a class of one picture", _one, "the class rare has 1", "add pictures"),
    _folder("a class of copies", _copies, "the class a has 1", "add pictures"),
    _folder("a picture in two classes", _twice, "a/0.png and b/copy.png", "remove one"),
    _folder("pictures of one colour", _constant, "one colour only", "a/0.png"),
    _folder("an empty class folder", lambda f: (f / "c").mkdir(), "cells/c", "remove the folder"),
    _folder("a class of text files", lambda f: _text_class(f), "cells/c", "remove the folder"),
    _folder("a loop of links", lambda f: (f / "a" / "loop").symlink_to(f), "cells/a/loop", "CSV"),
    _folder("a link as a class", lambda f: (f / "c").symlink_to(f / "a"), "cells/c", "CSV"),
    _folder("a link to nothing", lambda f: (f / "a" / "x.png").symlink_to("no"), "cells/a/x.png",
            "--skip-unreadable"),
    _folder("a fifo", lambda f: os.mkfifo(f / "a" / "x.png"), "cells/a/x.png", "regular file"),
    _folder("a class that is not UTF-8", _latin, r"caf\udce9", "rename it"),
    _folder("a picture that is not UTF-8", _latin_file, r"caf\udce9.png", "rename it"),
    _folder("a class with a newline", lambda f: picture(f / "c\nd" / "0.png"), "rename it"),
    _folder("a class with a long name", lambda f: picture(f / ("c" * 201) / "0.png"), "200"),
    _custom("an empty folder", "data import cells --out x.npz", 3, lambda f: (f / "cells").mkdir(),
            "cells:", "into a folder of its own"),
    _custom("no class folders", "data import cells --out x.npz", 3, _loose, "0.png", "in no class folder"),
    _custom("one class", "data import cells --out x.npz", 3, lambda f: cells(f, classes="a"),
            "one class (a)"),
    _custom("300 classes", "data import cells --out x.npz", 3, _many, "300 classes", "256"),
    _custom("other classes in a split", "data import cells --out x.npz", 3, _class_missing,
            "cells/val has no folder b"),
    _custom("no test split", "data import cells --out x.npz", 3, _without("test"), "not test", "add it"),
    _custom("no train split", "data import cells --out x.npz", 3, _without("train"), "not train", "add it"),
    _custom("a class beside the splits", "data import cells --out x.npz", 3, _split_and_class, "(c)"),
    _custom("val and valid", "data import cells --out x.npz", 3, _both_vals, "the same split"),
    _custom("--splits beside splits", "data import cells --out x.npz --splits 60/20/20", 2, splits,
            "leave --splits out"),
]  # fmt: skip


def _text_class(folder: Path) -> None:
    (folder / "c").mkdir()
    (folder / "c" / "notes.txt").write_text("x")


FILES = [
    _file("zero bytes", _bytes(b""), "cells/a/5.png", "cannot be read"),
    _file("text", _bytes(b"not a picture"), "cells/a/5.png", "cannot be read"),
    _file("a web page", _bytes(b"<html>404</html>"), "cells/a/5.png", "cannot be read"),
    _file("a truncated JPEG", _truncated, "cells/a/5.jpg", "cannot be read"),
    _file("an animated GIF", _frames(".gif"), "cells/a/5.gif", "3 images"),
    _file("a TIFF stack", _frames(".tif"), "cells/a/5.tif", "3 images"),
    _file("floating-point pixels", _float, "cells/a/5.tif", "8 bits per channel"),
    _file("12 of 16 bits", _dark, "cells/a/5.png", "16 bits per channel"),
    _file("a decompression bomb", _bomb, "cells/a/5.png", "decompression bomb"),
    _file("3 x 3 pixels", lambda p: picture(p, (3, 3)), "cells/a/5.png", "3 x 3 pixels"),
    _file("transparent pixels", _clear, "cells/a/5.png", "transparent"),
    _file("CMYK", _replaced(lambda p: Image.new("CMYK", (16, 16)).save(p.with_suffix(".jpg"))),
          "cells/a/5.jpg", "CMYK"),
    _file("a folder", _replaced(lambda p: picture(p.with_suffix(".PNG") / "x.png", (3, 3))),
          "5.PNG/x.png", "3 x 3"),
]  # fmt: skip

_ROWS = "cells/a/0.png,a\ncells/b/0.png,b"
TABLES = [
    _table("a missing picture", f"{_ROWS}\ncells/a/99.png,a", "cells/a/99.png", "--skip-unreadable"),
    _table("no label column", "cells/a/0.png", "no column label", header="path"),
    _table("no header", _ROWS, "no column path", header="cells/a/1.png,a"),
    _table("two label columns", "x,a,b", "two columns label", header="path,label,label"),
    _table("one-hot labels", "cells/a/0.png,1,0", "no column label", header="path,a,b"),
    _table("a row twice", f"{_ROWS}\ncells/a/0.png,a", "line 4", "line 2", "keep one"),
    _table("a row twice by two names", f"{_ROWS}\ncells/b/../a/0.png,a", "line 4", "keep one"),
    _table("a path that leads out", f"{_ROWS}\n../x.png,a", "line 4", "../x.png", "--images"),
    _table("an absolute path", f"{_ROWS}\n/etc/x.png,a", "line 4", "/etc/x.png", "--images"),
    _table("an empty label", f"{_ROWS}\ncells/a/1.png,", "line 4", "no label"),
    _table("a comma in a name", f"{_ROWS}\ncells/a,1.png,a", "line 4", "3 cells", "quotes"),
    _table("an unknown split", "cells/a/0.png,a,dev", "line 2", "'dev'", "train, val or test",
           header="path,label,split"),
    _table("an empty split", "cells/a/0.png,a,\ncells/b/0.png,b,val", "line 2", "no split",
           header="path,label,split"),
    _table("an open quote", f'{_ROWS}\n"cells/a/1.png,a', "not a CSV file"),
    _table("nothing", b"", "empty first line"),
    _table("a header only", b"path,label\n", "names no picture"),
    _table("UTF-16", "path,label\ncells/a/0.png,a".encode("utf-16"), "UTF-8"),
    _table("Latin-1", b"path,label\ncells/caf\xe9.png,a\n", "UTF-8"),
    _table("zero bytes in a name", b"path,label\ncells/a\0.png,a\n", "control characters"),
]  # fmt: skip


def _grouped(folder: Path) -> None:
    rows = [
        f"cells/{c}/{i}.png,{c},p{i % 2},{split}"
        for c in "ab"
        for i, split in enumerate(("train", "train", "val", "val", "test", "test"))
    ]
    table(folder, "\n".join(rows), header="path,label,group,split")


def _beside(name: str) -> Break:
    return lambda folder: (cells(folder).parent / name).touch()


OPTIONS = [
    _custom("a group in two splits", "data import cells.csv --out x.npz", 3, _grouped,
            "the group p0", "train", "val"),
    _custom("a column and a pattern of groups", "data import cells.csv --out x.npz --group-pattern x", 2,
            _grouped, "leave --group-pattern out"),
    _option("one group", "--group-pattern cells|png", "the class a has 1", code=3),
    _option("a pattern without a match", "--group-pattern patient", "a/0.png", "every picture", code=3),
    _option("a pattern that is none", "--group-pattern (", "regular expression"),
    _option("size 0", "--size 0", "--size 0", "8 to 512"),
    _option("size 5000", "--size 5000", "--size 5000", "8 to 512"),
    _option("crop round", "--crop round", "--crop round", "square"),
    _option("crop 0", "--crop 0", "--crop 0", "square"),
    _option("channels 2", "--channels 2", "--channels 2", "RGB"),
    _option("splits of two parts", "--splits 80/20", "80/20", "sum to 100"),
    _option("splits beyond 100", "--splits 80/20/20", "80/20/20", "sum to 100"),
    _option("images for a folder", "--images .", "--images"),
    _option("title of nothing", "--title \x1b", "--title"),
    _custom("no such folder", "data import no --out x.npz", 3, lambda f: None, "no does not exist"),
    _custom("an npz file", "data import x.npz --out y.npz", 3, lambda f: (f / "x.npz").touch(),
            "--dataset x.npz"),
    _custom("a zip file", "data import x.zip --out y.npz", 3, lambda f: (f / "x.zip").touch(),
            "neither a folder nor a CSV"),
    _custom("out without ending", "data import cells --out x", 2, cells, "--out x", ".npz"),
    _custom("out exists", "data import cells --out x.npz", 2,
            _beside("x.npz"), "x.npz exists", "--force"),
    _custom("out is a folder", "data import cells --out x.npz --force", 2,
            lambda f: (cells(f).parent / "x.npz").mkdir(), "cannot write x.npz", "--out"),
    _custom("out below a file", "data import cells --out x/x.npz", 2,
            _beside("x"), "cannot write x/x.npz", "--out"),
]  # fmt: skip
PICTURES = [*FOLDERS, *FILES, *TABLES, *OPTIONS]
