"""`bloodsearch predict`: classify images with an exported file and onnxruntime, without PyTorch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich.progress
import typer

from ..errors import UsageError
from . import output
from .options import JsonOption

if TYPE_CHECKING:
    from ..api.predict import Prediction, Predictions

MAX_NAMES = 5
"""Names of left-out files that one message lists."""


def predict(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE_OR_FOLDER",
            readable=False,
            help="A PNG, JPEG, TIFF, BMP, WebP or GIF image, a folder of images, or an .npz file.",
        ),
    ],
    model: Annotated[
        Path, typer.Option("--model", metavar="FILE", help="Made by `bloodsearch export`.")
    ],
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="NAME", help="The array of an .npz file; default: images."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Read the folders in a folder, too.")
    ] = False,
    json: JsonOption = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
) -> None:
    """Predict the class of each image, and show how sure the model is.

    Images are cropped and resized as those of the model's data set were. Images that cannot be used
    are named and skipped, and the exit code is then 1.
    Example: bloodsearch predict cells/ --model model.onnx
    """
    from ..api.predict import predict as classify

    if json and csv_:
        raise UsageError("--json and --csv exclude each other; choose one")
    columns = ("{task.completed} files", rich.progress.TimeElapsedColumn())
    hidden = json or csv_ or not output.stderr.is_terminal
    with rich.progress.Progress(
        *columns, console=output.stderr, disable=hidden, transient=True
    ) as bar:
        task = bar.add_task("", total=None)
        result = classify(
            source, model=model, key=key, recursive=recursive, on_file=lambda _: bar.advance(task)
        )
    if json:
        _write_json(result)
    elif csv_:
        _write_csv(result)
    elif result.predictions:
        _show(result.predictions)
    _say_what_is_missing(result, source, recursive=recursive)
    if result.skipped:
        raise typer.Exit(1)


def _write_json(result: Predictions) -> None:
    output.as_json(
        {
            "model": str(result.model),
            "provenance": result.provenance,
            "predictions": [
                {
                    "file": p.file,
                    "class": p.class_name,
                    "label": p.label,
                    "probability": p.probability,
                    "probabilities": p.probabilities,
                }
                for p in result.predictions
            ],
            "skipped": [{"file": name, "reason": why} for name, why in result.skipped.items()],
            "left_out": [str(path) for path in result.left_out],
        }
    )


def _write_csv(result: Predictions) -> None:
    output.as_csv(
        ["file", "class", "label", "probability", *result.classes],
        [
            (p.file, p.class_name, p.label, p.probability, *p.probabilities.values())
            for p in result.predictions
        ],
    )


def _show(predictions: tuple[Prediction, ...]) -> None:
    def cells(p: Prediction) -> tuple[object, ...]:
        order = sorted(p.probabilities.items(), key=lambda item: -item[1])
        return p.file, p.class_name, p.probability, *(order[1] if len(order) > 1 else (None, None))

    output.table(
        ["image", "class", "probability#", "next likely", "probability#"], map(cells, predictions)
    )


def _say_what_is_missing(result: Predictions, source: Path, *, recursive: bool) -> None:
    for name, why in result.skipped.items():
        output.message(f"skipped {name}: {why}")
    if result.skipped:
        output.message(f"{len(result.predictions)} images predicted, {len(result.skipped)} skipped")
    if not result.left_out:
        return
    from ..images.read import SUFFIXES

    names = [f"{path.name}/" if os.path.isdir(path) else path.name for path in result.left_out]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    hints = f"images end in {', '.join(SUFFIXES)}"
    if not recursive and any(name.endswith("/") for name in names):
        hints += "; --recursive reads the folders, too"
    output.message(f"not read in {source}: {', '.join(names[:MAX_NAMES])}{more}; {hints}")
