"""`bloodsearch data`: download BloodMNIST, import pictures, or describe the data."""

from __future__ import annotations

import os

import rich.progress
import typer

from . import data_import, output
from .debug import with_debug
from .options import DataRootOption, DatasetChoice, DatasetOption, JsonOption

app = typer.Typer(
    help="Download, import or describe the data.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("fetch")
@with_debug
def fetch_data(data_root: DataRootOption = None) -> None:
    """Download BloodMNIST (35 MB) and check it before it is kept."""
    from ..data.bloodmnist import default_root, load_dataset
    from ..data.download import fetch

    root = data_root or default_root()
    if os.path.exists(root / "bloodmnist.npz"):
        fingerprint = load_dataset("bloodmnist", root).fingerprint
        output.line(f"{root / 'bloodmnist.npz'} exists already: {fingerprint.describe()}")
        return
    with rich.progress.Progress(
        rich.progress.TextColumn("bloodmnist.npz"),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        console=output.stderr,
        disable=not output.stderr.is_terminal,
    ) as progress:
        task = progress.add_task("", total=None)
        path = fetch(
            root, progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
    output.line(f"{path}: the official file")


app.command("import")(with_debug(data_import.import_pictures))


@app.command("describe")
@with_debug
def describe(
    dataset: DatasetOption = DatasetChoice.bloodmnist,
    data_root: DataRootOption = None,
    json: JsonOption = False,
) -> None:
    """Show the origin, the content hash and the class counts of the train and validation splits."""
    import numpy as np

    from ..data.bloodmnist import CLASS_NAMES, N_IMAGES, load_dataset

    data = load_dataset(dataset.value, data_root)
    counts = {
        split: np.bincount(labels, minlength=len(CLASS_NAMES)).tolist()
        for split, labels in (("train", data.train_labels), ("val", data.val_labels))
    }
    if json:
        output.as_json(
            {
                "dataset": data.fingerprint.dataset,
                "provenance": data.fingerprint.provenance,
                "content_hash": data.fingerprint.content_hash,
                "n_images": N_IMAGES,
                "classes": list(CLASS_NAMES),
                "class_counts": counts,
            }
        )
        return
    output.line(f"{data.fingerprint.describe()}, content hash {data.fingerprint.content_hash}")
    output.line(
        ", ".join(f"{split} {n}" for split, n in N_IMAGES.items()) + " images of 28 x 28 x 3"
    )
    output.table(
        ["class", "train#", "validation#"],
        zip(CLASS_NAMES, counts["train"], counts["val"], strict=True),
    )
    output.line("the test split is sealed: only `bloodsearch final-eval` opens it")
