"""Files that a study shows on its page: its report, and what the final evaluation found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.info import DatasetInfo
from ..files import finite
from ..results import FinalResult

REPORTED = (
    "report.html",
    "model-card.md",
    "figures/pareto.png",
    "figures/importances.png",
    "figures/history.png",
)
"""The report's files that become artifacts, as far as the report has them."""


def report_files(folder: Path) -> dict[str, bytes]:
    """Return a written report's files by the names that people see."""
    paths = [folder / name for name in REPORTED]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def final_files(result: Mapping[str, Any], data: DatasetInfo) -> dict[str, bytes]:
    """Return the result of a final evaluation and its confusion matrix as a picture."""
    from .pictures import confusion_picture  # imports matplotlib

    final = FinalResult.read(result)
    title = f"Test split: true and predicted classes, {final.replicates} trainings of trial {final.trial}"
    text = json.dumps(finite(dict(result)), indent=2) + "\n"
    picture = confusion_picture(final.confusion_matrix, data, title)
    return {"final-evaluation.json": text.encode(), "final-confusion.png": picture}
