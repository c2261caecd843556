"""Find, read and override study files."""

from __future__ import annotations

import codecs
import copy
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from .overrides import Overrides, apply_overrides
from .parameters import PARAMETERS, shown
from .parsing import StudyFileError, parse_study
from .schema import StudyFile
from .spelling import did_you_mean

DEFAULT_STUDY = "bloodmnist"
MAX_FILE_BYTES = 1 << 20


def shipped_names() -> list[str]:
    """Return the names of the study files in this package, the default first."""
    folder = resources.files("bloodsearch.studies")
    names = sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )
    return sorted(names, key=lambda name: name != DEFAULT_STUDY)


def shipped_text(name: str) -> str:
    """Return the text of a shipped study file. Raises StudyFileError if no file has that name."""
    names = shipped_names()
    if name not in names:
        raise StudyFileError(
            f"no study file {name!r}{did_you_mean(name, names)}; shipped: {', '.join(names)}; "
            "for your own file give its path, ending in .toml"
        )
    return (
        resources.files("bloodsearch.studies").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    )


def study_text(name_or_path: str) -> str:
    """Return the text of a shipped study file by its name, or of any study file by its path.

    Raises StudyFileError if there is no such file or it is not text.
    """
    return _read(Path(name_or_path)) if is_path(name_or_path) else shipped_text(name_or_path)


def is_path(name_or_path: str) -> bool:
    """Return whether a study is named by a path and not by a shipped file's name."""
    return name_or_path.endswith(".toml") or "/" in name_or_path


def load_study_file(name_or_path: str, overrides: Overrides | None = None) -> StudyFile:
    """Load a shipped study by its name, or a file by its path, with overrides applied.

    Keys of overrides are dotted ("training.epochs"). In `KEY=VALUE` the value is TOML ("[1, 2]",
    "{low = 1, high = 2}") and a bare word is a string; in a dictionary it is the value itself.
    Raises StudyFileError, which names the file, the key and the values allowed.
    """
    text = study_text(name_or_path)
    source = name_or_path if is_path(name_or_path) else f"study {name_or_path}"
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: an integer of 5000 digits
        raise StudyFileError(f"{source}: not valid TOML: {error}") from None
    apply_overrides(data, overrides)
    return parse_study(data, source)


def study_from_dict(data: Mapping[str, Any], overrides: Overrides | None = None) -> StudyFile:
    """Return the study in a dictionary with a study file's keys. Raises StudyFileError."""
    source = f"study {data.get('name', '')}".rstrip()
    copied = copy.deepcopy(dict(data))
    apply_overrides(copied, overrides)
    return parse_study(copied, source)


def epochs_overrides(file: StudyFile, epochs: int) -> list[str]:
    """Return the overrides with which every trial of `file` has this number of epochs.

    A table by family stays a table, so a search that was begun with `--epochs` can be resumed with it.
    """
    value = str(epochs)
    if isinstance(file.training.epochs, dict):
        value = "{" + ", ".join(f"{family} = {epochs}" for family in file.training.epochs) + "}"
    overrides = [f"training.epochs={value}"]
    return overrides + ([f"space.epochs={epochs}"] if "epochs" in file.space else [])


def only_arch(file: StudyFile, arch: str) -> StudyFile:
    """Restrict `file` to the parameters and baselines of one family; its name becomes NAME-ARCH.

    Raises StudyFileError if the file does not search that family.
    """
    data = file.model_dump(mode="json")
    entry = data["space"].get("arch")
    families = entry if isinstance(entry, list) else [entry]
    if arch not in families:
        raise StudyFileError(f"study {file.name}: space.arch has no {shown(arch)}, only {families}")
    data["space"] = {
        key: value for key, value in data["space"].items() if PARAMETERS[key].is_of(arch)
    } | {"arch": arch}
    if data.get("minutes"):
        data["minutes"]["space"].pop("arch", None)
    data["baselines"] = [b for b in data["baselines"] if b["params"].get("arch") == arch]
    data["name"] = f"{file.name}-{arch}"
    return parse_study(data, f"study {file.name} with --arch {arch}")


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            raise StudyFileError(
                f"{path}: no such file; `bloodsearch studies new {path}` writes one"
            )
        if path.stat().st_size > MAX_FILE_BYTES:
            raise StudyFileError(
                f"{path}: {path.stat().st_size} bytes; a study file has under 1 MiB"
            )
        return _decode(path.read_bytes())
    except UnicodeDecodeError:
        raise StudyFileError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise StudyFileError(f"{path}: cannot be read ({error.strerror})") from None


def _decode(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte-order mark; drop the mark and unify line ends.

    Editors on Windows write all of these. Raises UnicodeDecodeError for anything else, UTF-16 without a
    mark included.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", content, content.index(0), content.index(0) + 1, "NUL")
    return text.replace("\r\n", "\n").replace("\r", "\n")
