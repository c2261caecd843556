"""`bloodsearch data`: download a data set, import pictures, or describe the data."""

from __future__ import annotations

import os

import rich.progress
import typer

from ..data.registry import DEFAULT
from . import data_describe, data_import, output
from .debug import with_debug
from .options import DataRootOption, DatasetOption

app = typer.Typer(
    help="Download, import or describe the data.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("fetch")
@with_debug
def fetch_data(dataset: DatasetOption = DEFAULT, data_root: DataRootOption = None) -> None:
    """Download the official file of a MedMNIST set and check it before it is kept."""
    from ..data.download import fetch
    from ..data.load import load_dataset
    from ..data.places import default_root
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


app.command("describe")(with_debug(data_describe.describe))
