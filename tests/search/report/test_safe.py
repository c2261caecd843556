"""Is it safe to believe this: what the section says follows from what was measured, and from what was not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from report_support import RESULT, MakeStudy

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.evaluation import ledger
from bloodsearch.search.evaluation.calibration import calibration
from bloodsearch.search.report import gather as gather_module
from bloodsearch.search.report.build import build
from bloodsearch.search.report.gather import Gathered, gather
from bloodsearch.search.report.safe import safe, sensitivity
from bloodsearch.search.results import FinalResult

VALUES: list[float | None] = [0.6, 0.9, None, 0.92, 0.7, 0.91, None, 0.93]


def open_test(storage: Storage, **changes: Any) -> None:
    opening = ledger.record_opening(
        storage, "tiny", trial=7, n_replicates=2, data_hash="x", forced=True
    )
    ledger.record_result(storage, opening, RESULT | changes)


def answers(study: Gathered) -> dict[str, str]:
    (table,) = safe(study).tables
    return {str(question): str(answer) for question, answer in table.rows}


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the data were no drawings."""
    monkeypatch.setattr(gather_module.Gathered, "synthetic", property(lambda self: False))


def in_short(storage: Storage, study: Any) -> str:
    return safe(gather(storage, study, None)).text[0]


def test_the_short_answer_follows_the_openings(
    storage: Storage, make_study: MakeStudy, real: None
) -> None:
    study = make_study(VALUES)
    assert "not yet" in in_short(storage, study)
    open_test(storage)
    assert "from the same source, yes" in in_short(storage, study)
    open_test(storage)
    assert "opened 2 times for this study" in in_short(storage, study)


def test_drawings_prove_nothing(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study(VALUES)
    open_test(storage)
    assert in_short(storage, study).startswith("In short: no. These are drawings")


def test_openings_for_other_studies_are_named(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study(VALUES)
    open_test(storage, test_openings_in_storage=4, test_openings_beside_data=3)
    text = answers(gather(storage, study, None))["How often was the test split opened?"]
    assert text.startswith(
        "Once for this study. The same test images were opened 3 times for other"
    )


def test_one_training_has_an_unknown_spread(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study(VALUES)
    one = RESULT["test_macro_f1"] | {"std": None, "n": 1, "values": [0.9]}
    open_test(storage, test_macro_f1=one)
    text = answers(gather(storage, study, None))["How noisy is the score?"]
    assert "the spread over seeds is unknown" in text
    assert "covers other test images, but no other seed" in text


def test_results_of_earlier_versions_say_what_was_not_measured(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study(VALUES)
    open_test(storage)
    section = safe(gather(storage, study, None))
    assert not section.pictures
    assert (
        "Not measured"
        in answers(gather(storage, study, None))["Can its probabilities be believed?"]
    )


def test_calibration_is_drawn_and_told(storage: Storage, make_study: MakeStudy) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.2] * 8, 400)
    labels = probabilities.argmax(axis=1).astype(np.uint8)
    labels[::10] = (labels[::10] + 1) % 8
    found = calibration(labels, [probabilities] * 2, labels, [probabilities] * 2)
    study = make_study(VALUES)
    open_test(storage, calibration=found)
    gathered = gather(storage, study, None)
    (picture,) = safe(gathered).pictures
    share = f"{100 * found['before']['error']['mean']:.2f} %"
    assert share in picture.title
    assert share in answers(gathered)["Can its probabilities be believed?"]
    panels = picture.draw().axes
    assert [len(axes.collections) > 4 for axes in panels] == [True, True]
    card = build(storage, study, None).card
    assert f"Expected calibration error on test: {found['before']['error']['mean']:.4f}" in card


def test_the_weakest_class_has_wilsons_interval() -> None:
    counts = np.diag([40] * 8)
    counts[3, 3], counts[3, 5] = 30, 10  # summed over 2 replicates: 15 of 20 images
    result = FinalResult.read(RESULT | {"confusion_matrix": counts.tolist()})
    assert sensitivity(result, 3) == pytest.approx((0.75, 0.531, 0.888), abs=1e-3)


def test_who_leads_is_not_called_the_winner(storage: Storage, make_study: MakeStudy) -> None:
    report = build(storage, make_study(VALUES), None)
    assert ("leading so far", "trial 7, cnn") in report.facts
    (section,) = [s for s in report.sections if s.title == "The choice of the winner"]
    assert section.text[0].startswith("No winner yet: trial 7 leads the search.")


def test_sections_begin_with_the_result_and_whether_to_believe_it(
    storage: Storage, make_study: MakeStudy
) -> None:
    titles = [s.title for s in build(storage, make_study(VALUES), None).sections]
    assert titles[:3] == [
        "The final evaluation on the test split",
        "Is it safe to believe this?",
        "The search",
    ]


def test_the_choice_of_a_ladder_is_told_as_it_was(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study(VALUES)
    finalists = [
        {"trial": trial, "search_value": 0.9, "mean": 0.95, "values": [0.95]} for trial in (7, 3)
    ]
    rung = {"study": "x", "values": [{"trial": trial, "value": 0.9} for trial in (7, 3, 1, 5)]}
    race = {"winner": 7, "finalists": finalists, "sd_over_seeds": 0.003}
    for rungs, told in (
        (
            [rung],
            "Of 6 complete trials, the best 4 went on to longer trainings. Of these, 2 finalists went on to",
        ),
        ([], "Of 6 complete trials, 2 finalists went on to trainings of the final length"),
    ):
        study.set_user_attr("selection", race | {"rungs": rungs, "optimism": None})
        assert told in answers(gather(storage, study, None))["How was the winner chosen?"]
    study.set_user_attr("selection", race | {"rungs": [], "optimism": 0.001})
    chosen = answers(gather(storage, study, None))["How was the winner chosen?"]
    assert "The best 2 of 6 complete trials were trained again" in chosen
