"""`bloodsearch data import`: make a data set of a person's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich.progress
import typer

from ..suggest import command
from . import output
from .options import JsonOption

if TYPE_CHECKING:
    from ..importing.result import ImportResult


def import_pictures(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER_OR_CSV",
            readable=False,  # the import reports what is wrong, with the exit code for data
            help="CLASS/*.png, train|val|test/CLASS/*.png, or a CSV file: path, label[, group, split].",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.npz", readable=False, help="The file to write.")
    ],
    size: Annotated[
        int, typer.Option("--size", metavar="PIXELS", help="Height and width of the images.")
    ] = 28,
    crop: Annotated[
        str,
        typer.Option(
            "--crop",
            metavar="square|whole|PIXELS",
            help="The largest square in the centre, all of a picture, or so many pixels in the centre.",
        ),
    ] = "square",
    channels: Annotated[
        int | None,
        typer.Option(
            "--channels", metavar="1|3", help="Gray or RGB; default: gray if nothing has a colour."
        ),
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option(
            "--splits",
            metavar="TRAIN/VAL/TEST",
            help="Percentages where the source names no splits; default: 70/10/20.",
        ),
    ] = None,
    group_pattern: Annotated[
        str | None,
        typer.Option(
            "--group-pattern",
            metavar="REGEX",
            help="Finds the group in each path, such as 'patient(\\d+)'; a group stays in one split.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Another seed makes other splits.")
    ] = 0,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            readable=False,
            help="Where the paths of a CSV file start; default: its own folder.",
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option("--title", help="The name of the data in results; default: the source's."),
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="The licence of the pictures, kept in the file.")
    ] = "",
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out pictures that cannot be read.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.npz.")] = False,
    json: JsonOption = False,
) -> None:
    """Make a data set of your own pictures: read, crop, resize, split and check them.

    The file has MedMNIST's layout. `--dataset FILE.npz` uses it anywhere. The same pictures and
    options give the same bytes. Nothing is written if something is wrong.
    Example: bloodsearch data import cells/ --out cells.npz
    """
    from ..importing.run import import_images

    columns = (
        rich.progress.TextColumn("reading"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    hidden = json or not output.stderr.is_terminal
    with rich.progress.Progress(
        *columns, console=output.stderr, disable=hidden, transient=True
    ) as bar:
        task = bar.add_task("", total=None)
        result = import_images(
            source,
            out=out,
            size=size,
            crop=crop,
            channels=channels,
            splits=splits,
            group_pattern=group_pattern,
            seed=seed,
            images=images,
            title=title,
            license=license_,
            skip_unreadable=skip_unreadable,
            force=force,
            on_picture=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if json:
        _as_json(result)
    else:
        _show(result)


def _as_json(result: ImportResult) -> None:
    output.as_json(
        {
            "out": str(result.out),
            "md5": result.md5,
            "n_images": result.n_images,
            "classes": list(result.classes),
            "class_counts": {split: list(n) for split, n in result.class_counts.items()},
            "shape": list(result.shape),
            "preparation": result.preparation,
            "splits": result.splits,
            "picture_sizes": [list(result.smallest), list(result.largest)],
            "unreadable": result.unreadable,
            "left_out": list(result.left_out),
            "constant": list(result.constant),
            "same_within": [list(pair) for pair in result.same_within],
            "same_across": [list(pair) for pair in result.same_across],
            "similar_across": [list(pair) for pair in result.similar_across],
        }
    )


def _show(result: ImportResult) -> None:
    n = sum(result.n_images.values())
    sizes = f"{result.smallest[0]} x {result.smallest[1]} pixels"
    if result.n_sizes > 1:
        sizes = f"{sizes} to {result.largest[0]} x {result.largest[1]}"
    output.line(f"{n:,} pictures of {sizes}: {result.preparation}")
    output.line(f"splits: {result.splits}")
    output.table(
        ["class", "train#", "validation#", "test#"],
        [
            *zip(result.classes, *result.class_counts.values(), strict=True),
            ("all", *result.n_images.values()),
        ],
    )
    for note in result.notes():
        output.line(f"* {note}")
    output.line(f"{result.out}, MD5 {result.md5}")
    output.message(f"next: {command('data', 'describe', '--dataset', result.out)}")
