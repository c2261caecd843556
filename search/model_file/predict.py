"""Predict with an exported ONNX file: onnxruntime, Pillow and numpy, nothing of the program that made it.

classifier = load_classifier(Path("model.onnx"))
for path in list_sources(Path("cells/")).files:
    for item in read_items(path):
        ...
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, RefusedError, UsageError
from ..images.preparation import BLOODMNIST, Preparation, preparation
from ..images.read import Images, Item, read_image

BATCH = 256
MAX_IMAGES = 1_000_000
"""Of one array: 2.4 GB."""
METADATA_KEY = "bloodsearch"


@dataclass(frozen=True, slots=True)
class Classifier:
    """An exported model, with what the export wrote about its origin."""

    session: Any
    classes: tuple[str, ...]
    provenance: dict[str, Any]
    rule: Preparation
    """How pictures become the pixels that the model takes."""

    def probabilities(self, images: Images) -> NDArray[np.float32]:
        """Return class probabilities (n, classes) of uint8 images (n, s, s, 3), or (n, s, s) if gray.

        Raises DataError when the model's answers are not numbers.
        """
        side = self.rule.side
        images = images.reshape(-1, side, side, self.rule.channels)
        parts = [
            self.session.run(None, {"images": np.ascontiguousarray(images[i : i + BATCH])})[0]
            for i in range(0, len(images), BATCH)
        ]
        if not parts:
            return np.empty((0, len(self.classes)), np.float32)
        answers: NDArray[np.float32] = np.concatenate(parts)
        if not np.isfinite(answers).all():
            raise DataError("the model's probabilities are not numbers; export it again")
        return answers


def load_classifier(path: Path) -> Classifier:
    """Read an ONNX file made by `bloodsearch export`.

    Raises UsageError when there is no such file, DataError when it is not such a model.
    """
    import onnxruntime

    if not _is_regular(path):
        raise UsageError(f"no model file {path}; `bloodsearch export --out {path}` writes one")
    onnxruntime.set_default_logger_severity(4)  # the message below says what is wrong
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        provenance = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
        classes = provenance["classes"]
        rule = BLOODMNIST  # of files by versions that knew one data set
        if "preparation" in provenance:
            rule = preparation(provenance["preparation"])
        _check_model(session, classes, rule)
    except Exception as error:  # onnxruntime has an exception class for each kind of damage
        raise DataError(
            f"{path} is not a model that bloodsearch exported ({type(error).__name__}); "
            "`bloodsearch export` writes one"
        ) from None
    return Classifier(session, tuple(classes), provenance, rule)


def _check_model(session: Any, classes: Any, rule: Preparation) -> None:
    """Raise ValueError for a model with other inputs, outputs or classes than an exported one."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    is_list = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not is_list or len(set(classes)) != len(classes):
        raise ValueError("classes")
    if [i.name for i in inputs] != ["images"] or inputs[0].type != "tensor(uint8)":
        raise ValueError("inputs")
    if inputs[0].shape[1:] != [rule.side, rule.side, rule.channels]:
        raise ValueError("shapes")
    if outputs[0].shape[1:] != [len(classes)]:
        raise ValueError("shapes")


def _is_regular(path: Path) -> bool:
    """Return whether `path` is a regular file: a FIFO or a device may never end."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read_items(
    source: Path, key: str | None = None, rule: Preparation = BLOODMNIST
) -> Iterator[Item]:
    """Yield the images of one file. A bad image is an item with a problem; a bad .npz file raises.

    Raises DataError for an unusable .npz file, RefusedError for the test split of a data set.
    """
    if source.suffix.lower() == ".npz":
        yield from _read_arrays(source, key, rule)
    else:
        yield read_image(source, rule)


def _read_arrays(path: Path, key: str | None, rule: Preparation) -> Iterator[Item]:
    name, images = _array(path, key, rule)
    yield from (Item(f"{path}:{name}[{i}]", image) for i, image in enumerate(images))


def _array(path: Path, key: str | None, rule: Preparation) -> tuple[str, Images]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive.files)
            name = _choose(path, names, key)
            _check_header(archive, path, name, rule)
            array: Images = archive[name]
    except (UsageError, RefusedError, DataError):
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many classes for damaged files
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"{path} cannot be read ({reason}); it should be made by np.savez"
        ) from None
    return name, array


def _check_header(archive: Any, path: Path, name: str, rule: Preparation) -> None:
    """Raise DataError for an array that is not one of images, before memory is taken for it."""
    with archive.zip.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    if dtype != np.uint8 or shape[1:] != rule.shape:
        wanted = ", ".join(map(str, rule.shape))
        raise DataError(f"{path}: {name} is {dtype} {shape}; the model needs uint8 (n, {wanted})")
    if shape[0] > MAX_IMAGES:
        raise DataError(
            f"{path}: {name} holds {shape[0]:,} images; at most {MAX_IMAGES:,} are read"
        )


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
