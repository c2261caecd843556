"""Put a study's report together."""

from __future__ import annotations

from pathlib import Path

import optuna

from ..database.storage import Storage
from . import classes, data_section, health, importance, sections
from .card import model_card
from .choice import choice
from .gather import Gathered, gather
from .mistakes import looks, mistakes
from .parts import Report
from .predictions import predict_validation
from .safe import safe
from .words import score, times

SYNTHETIC = (
    "SYNTHETIC DATA: drawings of cells, not blood cells. The scores say nothing about blood."
)


def build(storage: Storage, study: optuna.Study, data_root: Path | None) -> Report:
    """Build the report of `study`. It names what is missing, and how to get it."""
    gathered = gather(storage, study, data_root)
    shares = importance.importances(gathered.complete, gathered.space)
    predictions, why = predict_validation(storage, gathered)
    return Report(
        title=f"The study {gathered.info.name}",
        facts=_facts(gathered),
        banner=SYNTHETIC if gathered.synthetic else "",
        sections=[
            classes.final(gathered),
            safe(gathered),
            sections.search(gathered),
            sections.space(gathered, shares, health.checks(gathered, shares)),
            sections.learning(gathered),
            sections.families(gathered),
            choice(gathered),
            classes.confusions(gathered, predictions, why),
            mistakes(gathered, predictions, why),
            looks(gathered, predictions, why),
            data_section.data(gathered),
        ],
        card=model_card(gathered),
        trials=gathered.trials,
    )


def _facts(study: Gathered) -> list[tuple[str, str]]:
    winner, final = study.winner, study.final
    facts = [("data", study.info.fingerprint.describe())]
    if winner is not None:
        chosen = final is not None or study.selection is not None
        name = "winner" if chosen else "leading so far"
        facts.append((name, f"trial {winner.label}, {winner.family}"))
        facts.append(("validation macro-F1", f"{winner.value:.4f} in the search"))
    if final is not None:
        facts.append(("test macro-F1", score(final.test_macro_f1)))
    facts.append(("test split opened", times(len(study.openings)) if study.openings else "never"))
    facts.append(("trials", f"{len(study.finished)} finished, {len(study.complete)} complete"))
    facts.append(("storage", study.shown_storage))
    return facts
