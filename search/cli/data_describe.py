"""`bloodsearch data describe`: the origin of a data set, its classes, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..data.registry import DEFAULT
from ..errors import UsageError
from . import output
from .options import DataRootOption, DatasetOption, JsonOption

if TYPE_CHECKING:
    from ..data.checks import DataChecks
    from ..data.load import Dataset

PICTURES = (".png", ".svg")


def describe(
    dataset: DatasetOption = DEFAULT,
    data_root: DataRootOption = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            metavar="FILE",
            readable=False,
            help="Draw the class counts into a .png or .svg file.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the origin, the content hash and the class counts, and check the images.

    The checks look for copies and look-alikes within and across the train and validation splits,
    for images of one colour, and for classes whose shares differ. The test split stays sealed.
    """
    from ..data.checks import check_images
    from ..data.load import import_record, load_dataset
    from ..report.data_section import class_counts

    if picture is not None and picture.suffix not in PICTURES:
        raise UsageError(f"--picture {picture}: the name ends in {' or '.join(PICTURES)}")
    data = load_dataset(dataset, data_root)
    checks = check_images(
        (data.train_images, data.train_labels),
        (data.val_images, data.val_labels),
        data.info.classes,
    )
    found = _Found(data, class_counts(data), checks, import_record(dataset, data_root))
    if picture is not None:
        _draw(data, picture)
    if json:
        output.as_json(found.as_dict())
        return
    found.show()
    if picture is not None:
        output.line(f"class counts are drawn in {picture}")


@dataclass(frozen=True)
class _Found:
    """What there is to say about a data set."""

    data: Dataset
    counts: Mapping[str, list[int]]
    checks: DataChecks
    record: Mapping[str, Any]
    """What the import wrote into the file."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of `bloodsearch data describe`."""
        info, fingerprint = self.data.info, self.data.fingerprint
        return {
            "dataset": fingerprint.dataset,
            "provenance": fingerprint.provenance,
            "content_hash": fingerprint.content_hash,
            "title": info.title,
            "task": info.task,
            "size": info.size,
            "channels": info.channels,
            "licence": info.license,
            "source": info.source,
            "n_images": info.n_images,
            "n_groups": self.data.n_groups,
            "classes": list(info.classes),
            "class_counts": {"train": self.counts["train"], "val": self.counts["validation"]},
            "findings": self.checks.findings(),
            "same_across": [list(pair) for pair in self.checks.same_across],
            "similar_across": [list(pair) for pair in self.checks.similar_across],
            "import": dict(self.record),
        }

    def show(self) -> None:
        """Print it as text."""
        info, fingerprint = self.data.info, self.data.fingerprint
        output.line(f"{fingerprint.describe()}, content hash {fingerprint.content_hash}")
        output.line(
            ", ".join(f"{split} {n}" for split, n in info.n_images.items())
            + f" images of {info.size} x {info.size} x {info.channels}"
        )
        output.table(
            ["class", "train#", "validation#"],
            zip(info.classes, self.counts["train"], self.counts["validation"], strict=True),
        )
        if (n := self.data.n_groups) is not None:
            output.line(
                f"training and validation images are in {n:,} groups, which folds keep whole"
            )
        findings = self.checks.findings()
        for finding in findings:
            output.line(f"* {finding}")
        if not findings:
            output.line("the checks see no copies, look-alikes, empty images or shifted classes")
        for line in _imported(self.record):
            output.line(line)
        output.line(
            "the test split is sealed: the checks do not read it, only `bloodsearch final-eval` does"
        )


def _draw(data: Dataset, path: Path) -> None:
    from ..files import atomic_write
    from ..report import style
    from ..report.data_section import classes_picture

    try:
        with style.styled(), atomic_write(path) as temporary:
            figure = classes_picture(data).draw()
            style.save(figure, temporary.parent, temporary.stem, [temporary.suffix[1:]])
    except OSError as error:
        raise UsageError(
            f"cannot write {path} ({error.strerror}); choose another --picture"
        ) from None


def _imported(record: Mapping[str, Any]) -> list[str]:
    """Return what the import wrote down about splits and copies, when it saw all three splits."""
    lines = []
    if isinstance(splits := record.get("splits"), str):
        lines.append(f"splits at the import: {splits}")
    same, similar = record.get("same_across_splits"), record.get("similar_across_splits")
    if isinstance(same, int) and isinstance(similar, int):
        lines.append(
            f"across all three splits, the import saw {same} copies and {similar} look-alikes"
        )
    return lines
