"""Write a study's report."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ...studies import DEFAULT_STUDY
from .. import study_names
from ..course.gather import published
from ..course.page import build_course
from ..dashboard.publish import publish
from ..dashboard.study_files import report_files
from ..errors import StorageError, UsageError
from ..evaluation.folder import check_writable
from ..report.build import build
from ..report.page import write
from ..report.parts import Report
from .events import Notice, OnProgress, ignore
from .results import ReportResult
from .study import StoredStudy, load_part, load_study


def report(
    study: str | Path | None = None,
    *,
    storage: str | None = None,
    name: str | None = None,
    out: str | Path | None = None,
    light: bool = False,
    latex: bool = False,
    data_root: str | Path | None = None,
    on_progress: OnProgress = ignore,
) -> ReportResult:
    """Write a study's report: one HTML file, Markdown, figures, tables and a model card.

    Args:
        study: A shipped study's name, a study file's path, or a study's name in the storage.
        storage: The storage's URL; default $BLOODSEARCH_STORAGE, else a file in the current folder.
        name: The study's name in the storage; default: the study file's.
        out: The folder; default report/NAME.
        light: Write Markdown, SVG and tables only, to keep in a repository.
        latex: Also write each table as LaTeX (booktabs), for a paper.
        data_root: The folder with the data; default $BLOODSEARCH_DATA, else ~/.medmnist.
        on_progress: Receives a notice when the synthetic study is shown because it is the only one.

    Reads the study and the ledger, never the test split.
    """
    root = None if data_root is None else Path(data_root)
    title, page, stored = _build(study, storage, name, root, on_progress)
    folder = Path("report") / title if out is None else Path(out)
    check_writable(folder)
    try:
        files = write(page, folder, light=light, latex=latex)
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder} ({error.strerror}); pass another --out"
        ) from None
    if stored is not None and not light:
        publish(
            stored.storage,
            stored.study,
            files=report_files(folder),
            on_message=lambda text: on_progress(Notice(text)),
        )
    return ReportResult(title, folder, tuple(files))


def _build(
    study: str | Path | None,
    storage: str | None,
    name: str | None,
    data_root: Path | None,
    on_progress: OnProgress,
) -> tuple[str, Report, StoredStudy | None]:
    """Return the folder's name and the report: a course report's page, or a study's and that study."""

    def whole() -> tuple[str, Report, StoredStudy]:
        stored = load_study(study, storage=storage, name=name, on_progress=on_progress)
        return stored.name, build(stored.storage, stored.study, data_root), stored

    source = DEFAULT_STUDY if study is None else str(study)
    if published(source) is None:
        return whole()
    try:
        part = load_part(source, "baselines", storage=storage, name=name)
    except StorageError:
        # searched with a budget, as any study file can be, and not part by part
        with contextlib.suppress(StorageError):
            return whole()
        raise
    base = study_names.without_part(part.name)
    return base, build_course(part.storage, source, base, data_root), None
