"""A study's report, put together."""

from __future__ import annotations

from pathlib import Path

import optuna

from ..database.storage import Storage
from ..records import Spread, spread_text
from . import classes, health, importance, sections
from .card import model_card
from .gather import Gathered, gather
from .parts import Report
from .predictions import predict_validation

SYNTHETIC = (
    "SYNTHETIC DATA: drawings of cells, not blood cells. The scores say nothing about blood."
)


def build(storage: Storage, study: optuna.Study, data_root: Path | None) -> Report:
    """Everything that is known of `study`; what is missing is named, with how to get it."""
    found = gather(storage, study, data_root)
    shares = importance.importances(found.complete)
    predictions, why = predict_validation(storage, found)
    return Report(
        title=f"The study {found.info.name}",
        facts=_facts(found),
        banner=SYNTHETIC if found.synthetic else "",
        sections=[
            classes.final(found),
            classes.confusions(found, predictions, why),
            sections.choice(found),
            sections.search(found),
            sections.learning(found),
            sections.families(found),
            sections.space(found, shares, health.checks(found, shares)),
            sections.data(found),
        ],
        card=model_card(found),
    )


def _facts(study: Gathered) -> list[tuple[str, str]]:
    winner, final = study.winner, study.final
    facts = [("data", study.info.fingerprint.describe())]
    if winner is not None:
        facts.append(("winner", f"trial {winner.label}, {winner.family}"))
        facts.append(("validation macro-F1", f"{winner.value:.4f} in the search"))
    if final is not None:
        macro = final["test_macro_f1"]
        facts.append(("test macro-F1", f"{macro['mean']:.4f}, {spread_text(Spread.read(macro))}"))
    facts.append(
        ("test split opened", classes.times(len(study.openings)) if study.openings else "never")
    )
    facts.append(("trials", f"{len(study.finished)} finished, {len(study.complete)} complete"))
    facts.append(("storage", study.shown_storage))
    return facts
