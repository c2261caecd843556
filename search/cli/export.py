"""`bloodsearch export`: the final evaluation's model as one file that anyone can run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from ..errors import BloodsearchError, UsageError
from . import output
from .options import (
    DataRootOption,
    DebugOption,
    JsonOption,
    NameOption,
    StorageOption,
    StudyArgument,
    find_study,
)


class Format(StrEnum):
    onnx = "onnx"
    torch = "torch"


SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}


def export(
    study: StudyArgument = DEFAULT_STUDY,
    format_: Annotated[
        Format, typer.Option("--format", help="onnx, or torch for torch.export.load.")
    ] = Format.onnx,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: STUDY.onnx or .pt2 here.")
    ] = None,
    replicate: Annotated[
        int | None,
        typer.Option("--replicate", min=0, help="Default: the best on validation."),
    ] = None,
    check_test: Annotated[
        bool,
        typer.Option(
            "--check-test",
            help="Open the test split once more, on the record: do exported files give the final "
            "evaluation's confusion matrix?",
        ),
    ] = False,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the final evaluation's model as one file: uint8 images in, probabilities out.

    It is compared with PyTorch on 256 validation images before it is kept.
    Example: bloodsearch export --out model.onnx
    """
    from ..data.bloodmnist import load_dataset
    from ..model_file import export as library
    from ..study import info

    opened, found = find_study(study, storage, name)
    trained = library.trained_replicates(opened, found)
    number = trained.best() if replicate is None else replicate
    if number >= len(trained.trials):
        raise UsageError(
            f"--replicate {number}: there are {len(trained.trials)}, the first is number 0"
        )
    path = out or Path(found.study_name + SUFFIX[format_.value])
    data = load_dataset(info(found).fingerprint.dataset, data_root)
    facts = library.provenance(found, trained, number)
    difference = library.export(trained.trials[number], facts, data, format_.value, path)
    result: dict[str, Any] = {
        "study": found.study_name,
        "trial": trained.result["trial"],
        "replicate": number,
        "format": format_.value,
        "out": str(path),
        "bytes": path.stat().st_size,
        "largest_difference": difference,
        "n_compared": library.N_PARITY,
    }
    if check_test:
        result["test_check"] = library.check_on_test(opened, found, trained, data, data_root)
    if json:
        output.as_json(result)
    else:
        _show(result, facts)
    check = result.get("test_check")
    if check and not check["identical"]:
        raise BloodsearchError(
            f"exported files classify at least {check['n_different']} test images otherwise than the "
            "final evaluation; do not use them"
        )


def _show(result: dict[str, Any], facts: dict[str, Any]) -> None:
    output.line(
        f"{result['out']}: replicate {result['replicate']} of trial {result['trial']}, "
        f"{result['bytes'] / 1e6:.1f} MB, validation macro-F1 {facts['val_macro_f1']:.4f}"
    )
    output.line(
        f"largest difference of a probability from PyTorch on {result['n_compared']} images: "
        f"{result['largest_difference']:.1g}"
    )
    check = result.get("test_check")
    if check:
        same = "exactly" if check["identical"] else "NOT"
        output.line(
            f"{check['replicates']} exported replicates give {same} the final evaluation's confusion "
            f"matrix on {check['n_images']:,} test images; the test split was opened "
            f"{check['test_openings']} times for this study"
        )
    if result["format"] == "onnx":
        output.line(f"next: bloodsearch predict IMAGE --model {result['out']}")
