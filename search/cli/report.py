"""`bloodsearch report`: write figures, tables, a Markdown and an HTML page about a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...studies import DEFAULT_STUDY
from . import output
from .options import (
    DataRootOption,
    JsonOption,
    NameOption,
    StorageOption,
    StudyArgument,
)


def report(
    study: StudyArgument = DEFAULT_STUDY,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Default: report/STUDY here.")
    ] = None,
    light: Annotated[
        bool,
        typer.Option("--light", help="Markdown, SVG and tables only, to keep in a repository."),
    ] = False,
    latex: Annotated[
        bool, typer.Option("--latex", help="Also write each table as LaTeX, for a paper.")
    ] = False,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    json: JsonOption = False,
) -> None:
    """Write a study's report: one HTML file, Markdown, figures, tables, a model card.

    report_a and report_b get pages that repeat the two course reports, with the published figures beside
    those of this study. Reads the study and the ledger, never the test split.

    Example: bloodsearch report --out report
    """
    from ..api.report import report as write_report

    written = write_report(
        study,
        storage=storage,
        name=name,
        out=out,
        light=light,
        latex=latex,
        data_root=data_root,
        on_progress=lambda event: output.message(str(event)),
    )
    files = [str(file) for file in written.files]
    if json:
        output.as_json({"study": written.study, "out": str(written.out), "files": files})
        return
    output.line(f"the report of {written.study}: {files[0]}")
    output.line(f"{len(files)} files in {written.out}, with every figure and table as a file")
