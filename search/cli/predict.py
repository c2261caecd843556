"""`bloodsearch predict`: the classes of images, with an exported file and onnxruntime, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from . import output
from .options import JsonOption

if TYPE_CHECKING:
    from ..model_file.predict import Classifier, Item

Row = dict[str, Any]


def predict(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE_OR_FOLDER",
            readable=False,
            help="A PNG, JPEG or TIFF image, a folder of them, or an .npz file.",
        ),
    ],
    model: Annotated[
        Path, typer.Option("--model", metavar="FILE", help="Made by `bloodsearch export`.")
    ],
    key: Annotated[
        str | None, typer.Option("--key", help="The array of an .npz file; default: images.")
    ] = None,
    json: JsonOption = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
) -> None:
    """The class of each image, and how sure the model is.

    Images larger than 28 x 28 are cropped to their centre 200 x 200 and resized, as BloodMNIST's
    own were. Bad ones are named and skipped, and the exit code is then 1.
    Example: bloodsearch predict cells/ --model model.onnx
    """
    from ..model_file.predict import list_sources, load_classifier

    if json and csv_:
        raise UsageError("--json and --csv exclude each other; choose one")
    classifier = load_classifier(model)
    sources = list_sources(source)
    rows: list[Row] = []
    skipped: list[Row] = []
    for items in _batches(_items(sources, key, quiet=json or csv_)):
        good = [item for item in items if item.image is not None]
        skipped += [{"file": i.name, "reason": i.problem} for i in items if i.image is None]
        rows += _rows(classifier, good)
    if json:
        output.as_json(
            {
                "model": str(model),
                "provenance": classifier.provenance,
                "predictions": rows,
                "skipped": skipped,
            }
        )
    elif csv_:
        _write_csv(classifier.classes, rows)
    elif rows:
        _show(rows)
    for bad in skipped:
        output.message(f"skipped {bad['file']}: {bad['reason']}")
    if skipped:
        output.message(f"{len(rows)} images predicted, {len(skipped)} skipped")
        raise typer.Exit(1)


def _items(sources: list[Path], key: str | None, *, quiet: bool) -> Iterator[Item]:
    """All items of all files, with a progress bar on a terminal."""
    import rich.progress

    from ..model_file.predict import read_items

    shown = not quiet and output.stderr.is_terminal
    tracked = rich.progress.track(
        sources, "reading", console=output.stderr, disable=not shown, transient=True
    )
    for path in tracked:
        yield from read_items(path, key)


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    """At most 256 images at a time: a folder may hold a million."""
    from ..model_file.predict import BATCH

    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _rows(classifier: Classifier, items: list[Item]) -> list[Row]:
    import numpy as np

    if not items:
        return []
    images = np.stack([item.image for item in items if item.image is not None])
    rows = []
    for item, found in zip(items, classifier.probabilities(images), strict=True):
        label = int(found.argmax())
        rows.append(
            {
                "file": item.name,
                "class": classifier.classes[label],
                "label": label,
                "probability": float(found[label]),
                "probabilities": dict(
                    zip(classifier.classes, (float(p) for p in found), strict=True)
                ),
            }
        )
    return rows


def _show(rows: list[Row]) -> None:
    def cells(row: Row) -> tuple[object, ...]:
        order = sorted(row["probabilities"].items(), key=lambda item: -item[1])
        return row["file"], row["class"], row["probability"], *order[1]

    output.table(
        ["image", "class", "probability#", "next likely", "probability#"], map(cells, rows)
    )


def _write_csv(classes: tuple[str, ...], rows: list[Row]) -> None:
    output.as_csv(
        ["file", "class", "label", "probability", *classes],
        [
            (r["file"], r["class"], r["label"], r["probability"], *r["probabilities"].values())
            for r in rows
        ],
    )
