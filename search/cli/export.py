"""`bloodsearch export`: write the final evaluation's model as one file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from ..errors import BloodsearchError
from . import output
from .options import (
    DataRootOption,
    JsonOption,
    NameOption,
    StorageOption,
    StudyArgument,
)
from .suggest import command, next_line


class Format(StrEnum):
    onnx = "onnx"
    torch = "torch"


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
            help="Open the test split once more, on the record, and check that exported files give the "
            "final evaluation's confusion matrix.",
        ),
    ] = False,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    json: JsonOption = False,
) -> None:
    """Write the final evaluation's model as one file: uint8 images in, probabilities out.

    The file is compared with PyTorch on 256 validation images before it is kept.
    Example: bloodsearch export --out model.onnx
    """
    from ..api.export import export as export_model

    exported = export_model(
        study,
        storage=storage,
        name=name,
        format=format_.value,
        out=out,
        replicate=replicate,
        check_test=check_test,
        data_root=data_root,
        on_progress=lambda event: output.message(str(event)),
    )
    result: dict[str, Any] = {
        "study": exported.study,
        "trial": exported.trial,
        "replicate": exported.replicate,
        "format": exported.format,
        "out": str(exported.out),
        "bytes": exported.bytes,
        "largest_difference": exported.largest_difference,
        "n_compared": exported.n_compared,
    }
    if exported.test_check is not None:
        result["test_check"] = exported.test_check
    if json:
        output.as_json(result)
    else:
        _show(result, exported.val_macro_f1)
    check = result.get("test_check")
    if check and not check["identical"]:
        raise BloodsearchError(
            f"exported files classify at least {check['n_different']} test images differently from the "
            "final evaluation; do not use them"
        )


def _show(result: dict[str, Any], val_macro_f1: float) -> None:
    output.line(
        f"{result['out']}: replicate {result['replicate']} of trial {result['trial']}, "
        f"{result['bytes'] / 1e6:.1f} MB, validation macro-F1 {val_macro_f1:.4f}"
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
        next_line(command("predict", "IMAGE", "--model", result["out"]))
