"""`bloodsearch data`: download a data set, import pictures, or describe the data."""

from __future__ import annotations

import os

import rich.progress
import typer

from ..data.registry import DEFAULT
from . import data_import, output
from .debug import with_debug
from .options import DataRootOption, DatasetOption, JsonOption

app = typer.Typer(
    help="Download, import or describe the data.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("fetch")
@with_debug
def fetch_data(dataset: DatasetOption = DEFAULT, data_root: DataRootOption = None) -> None:
    """Download the official file of a MedMNIST set and check it before it is kept."""
    from ..data.download import fetch
    from ..data.load import default_root, load_dataset
    from ..data.registry import official

    root = data_root or default_root()
    path = root / official(dataset).file_name
    if os.path.exists(path):
        fingerprint = load_dataset(dataset, root).fingerprint
        output.line(f"{path} exists already: {fingerprint.describe()}")
        return
    with rich.progress.Progress(
        rich.progress.TextColumn(path.name),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        console=output.stderr,
        disable=not output.stderr.is_terminal,
    ) as progress:
        task = progress.add_task("", total=None)
        path = fetch(
            dataset,
            root,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    output.line(f"{path}: the official file")


app.command("import")(with_debug(data_import.import_pictures))


@app.command("describe")
@with_debug
def describe(
    dataset: DatasetOption = DEFAULT,
    data_root: DataRootOption = None,
    json: JsonOption = False,
) -> None:
    """Show the origin, the content hash and the class counts of the train and validation splits."""
    import numpy as np

    from ..data.load import load_dataset

    data = load_dataset(dataset, data_root)
    info = data.info
    counts = {
        split: np.bincount(labels, minlength=len(info.classes)).tolist()
        for split, labels in (("train", data.train_labels), ("val", data.val_labels))
    }
    if json:
        output.as_json(
            {
                "dataset": data.fingerprint.dataset,
                "provenance": data.fingerprint.provenance,
                "content_hash": data.fingerprint.content_hash,
                "title": info.title,
                "task": info.task,
                "size": info.size,
                "channels": info.channels,
                "licence": info.license,
                "source": info.source,
                "n_images": info.n_images,
                "classes": list(info.classes),
                "class_counts": counts,
            }
        )
        return
    output.line(f"{data.fingerprint.describe()}, content hash {data.fingerprint.content_hash}")
    output.line(
        ", ".join(f"{split} {n}" for split, n in info.n_images.items())
        + f" images of {info.size} x {info.size} x {info.channels}"
    )
    output.table(
        ["class", "train#", "validation#"],
        zip(info.classes, counts["train"], counts["val"], strict=True),
    )
    output.line("the test split is sealed: only `bloodsearch final-eval` opens it")
