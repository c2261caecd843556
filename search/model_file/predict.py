"""Predicting with an exported ONNX file: onnxruntime, Pillow and numpy, nothing of the program that made it.

classifier = load_classifier(Path("model.onnx"))
for item in read_items(Path("cells/")):
    ...
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, RefusedError, UsageError

SIDE = 28
CROP = 200
"""BloodMNIST was made from the centre 200 x 200 pixels of each photograph."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")
MAX_PIXELS = 100_000_000
BATCH = 256
METADATA_KEY = "bloodsearch"

Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Item:
    """One image to predict, (28, 28, 3) uint8, or the reason why it cannot be."""

    name: str
    image: Images | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Classifier:
    """An exported model. `provenance` is what the export wrote about where it comes from."""

    session: Any
    classes: tuple[str, ...]
    provenance: dict[str, Any]

    def probabilities(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities (n, classes) of images (n, 28, 28, 3) uint8, in batches."""
        parts = [
            self.session.run(None, {"images": np.ascontiguousarray(images[i : i + BATCH])})[0]
            for i in range(0, len(images), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(self.classes)), np.float32)


def load_classifier(path: Path) -> Classifier:
    """Read an ONNX file made by `bloodsearch export`.

    Raises UsageError when there is no such file, DataError when it is not such a model.
    """
    import onnxruntime

    if not path.is_file():
        raise UsageError(f"no model file {path}; `bloodsearch export --out {path}` writes one")
    onnxruntime.set_default_logger_severity(4)  # what is wrong with a file is ours to say
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        text = session.get_modelmeta().custom_metadata_map[METADATA_KEY]
        provenance = json.loads(text)
        classes = tuple(str(name) for name in provenance["classes"])
        shape = session.get_inputs()[0].shape
        assert shape[1:] == [SIDE, SIDE, 3]
    except Exception as error:  # onnxruntime has an exception class for each kind of damage
        raise DataError(
            f"{path} is not a model that bloodsearch exported ({type(error).__name__}); "
            "`bloodsearch export` writes one"
        ) from None
    return Classifier(session, classes, provenance)


def list_sources(path: Path) -> list[Path]:
    """The files that `path` means: itself, or the images of a folder in the order of their names.

    Raises UsageError when there is none.
    """
    if path.is_dir():
        found = sorted(
            p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
        )
        if not found:
            raise UsageError(f"no image in {path}; it should hold files ending in {_suffixes()}")
        return found
    if not path.exists():
        raise UsageError(
            f"{path} does not exist; name an image, a folder of images or an .npz file"
        )
    if path.suffix.lower() not in (*SUFFIXES, ".npz"):
        raise UsageError(f"{path}: images end in {_suffixes()}, arrays in .npz")
    return [path]


def read_items(source: Path, key: str | None = None) -> Iterator[Item]:
    """The images of one file. A bad image is an item with a problem; a bad .npz file raises.

    Raises DataError for an unusable .npz file, RefusedError for the test split of a data set.
    """
    if source.suffix.lower() == ".npz":
        yield from _read_arrays(source, key)
    else:
        yield read_image(source)


def read_image(path: Path) -> Item:
    """A PNG, JPEG or TIFF file as the model takes it."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF and the like
            with Image.open(path) as image:
                problem = _problem(image)
                if problem:
                    return Item(str(path), None, problem)
                return Item(str(path), fit_image(image.convert("RGB")))
    except Exception as error:  # Pillow meets damage with a dozen kinds
        reason = " ".join(str(error).split())[:120]
        return Item(str(path), None, f"cannot be read ({type(error).__name__}: {reason})")


def fit_image(image: Any) -> Images:
    """An RGB Pillow image of 28 x 28 or more to (28, 28, 3), as BloodMNIST's own were made.

    Larger ones are cropped to their centre 200 x 200 (or the largest square, if they are smaller
    than that) and resized bilinearly.
    """
    from PIL import Image

    width, height = image.size
    if (width, height) != (SIDE, SIDE):
        side = min(CROP, width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _problem(image: Any) -> str:
    width, height = image.size
    if getattr(image, "n_frames", 1) > 1:
        return f"holds {image.n_frames} images; save each as a file of its own"
    if width < SIDE or height < SIDE:
        return f"is {width} x {height} pixels; the model needs {SIDE} x {SIDE} or more"
    if width * height > MAX_PIXELS:
        return f"is {width} x {height} pixels; at most {MAX_PIXELS:,} are read"
    if image.mode not in MODES:
        return f"has pixels of kind {image.mode}; save it with 8 bits a channel"
    return ""


def _read_arrays(path: Path, key: str | None) -> Iterator[Item]:
    name, images = _array(path, key)
    yield from (Item(f"{path}:{name}[{i}]", image) for i, image in enumerate(images))


def _array(path: Path, key: str | None) -> tuple[str, Images]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive.files)
            name = _choose(path, names, key)
            array = archive[name]
    except (UsageError, RefusedError):
        raise
    except Exception as error:  # zipfile, zlib and numpy meet damage in many ways
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"{path} cannot be read ({reason}); it should be made by np.savez"
        ) from None
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1:] != (SIDE, SIDE, 3):
        raise DataError(
            f"{path}: {name} is {array.dtype} {array.shape}; images are uint8 (n, {SIDE}, {SIDE}, 3)"
        )
    return name, array


def _choose(path: Path, names: Sequence[str], key: str | None) -> str:
    name = key or ("images" if "images" in names or len(names) != 1 else names[0])
    if name not in names:
        raise UsageError(
            f"{path} has no array {name!r}; name one of {', '.join(names) or 'none'} with --key"
        )
    if name.startswith("test"):
        raise RefusedError(
            f"{name} is the test split of a data set, which only `bloodsearch final-eval` and "
            "`bloodsearch export --check-test` open, on the record"
        )
    return name


def _suffixes() -> str:
    return ", ".join(SUFFIXES)
