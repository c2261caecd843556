"""`bloodsearch report`: figures, tables and a Markdown and HTML page about a study."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...studies import DEFAULT_STUDY
from .. import study_names
from ..errors import StorageError, UsageError
from . import output
from .options import (
    DataRootOption,
    DebugOption,
    JsonOption,
    NameOption,
    StorageOption,
    StudyArgument,
    find_part,
    find_study,
)

if TYPE_CHECKING:
    from ..report.parts import Report


def report(
    study: StudyArgument = DEFAULT_STUDY,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Default: report/STUDY here.")
    ] = None,
    light: Annotated[
        bool,
        typer.Option("--light", help="Markdown, SVG and tables only, to keep in a repository."),
    ] = False,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a study's report: one HTML file, Markdown, figures, tables, a model card.

    report_a and report_b get pages that repeat the two course reports, ours beside theirs.
    Reads the study and the ledger, never the test split. Example: bloodsearch report --out report
    """
    from ..evaluation.final import check_writable
    from ..report.page import write

    title, built = _build(study, storage, name, data_root)
    folder = out or Path("report") / title
    check_writable(folder)
    try:
        files = write(built, folder, light=light)
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder} ({error.strerror}); name another --out"
        ) from None
    if json:
        output.as_json({"study": title, "out": str(folder), "files": [str(f) for f in files]})
        return
    output.line(f"the report of {title}: {files[0]}")
    output.line(f"{len(files)} files in {folder}; figures/ and tables/ hold the same")


def _build(
    study: str, storage: str | None, name: str | None, data_root: Path | None
) -> tuple[str, Report]:
    """The folder's name and the report: a course report's own page, or that of any other study."""
    from ..course.gather import published
    from ..course.page import build_course
    from ..report.build import build

    if published(study) is None:
        opened, found = find_study(study, storage, name)
        return found.study_name, build(opened, found, data_root)
    try:
        opened, found = find_part(study, storage, name, "baselines")
    except StorageError as missing:
        # searched with a budget, as any study file can be, and not part by part
        with contextlib.suppress(StorageError):
            opened, found = find_study(study, storage, name)
            return found.study_name, build(opened, found, data_root)
        raise missing
    base = study_names.without_part(found.study_name)
    return base, build_course(opened, study, base, data_root)
