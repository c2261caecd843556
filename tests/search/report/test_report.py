"""The report as files: whole, self-contained, and honest about what it lacks."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import IntDistribution
from report_support import RESULT, MakeStudy, fake_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.data import load as data_module
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.evaluation import ledger, opening
from bloodsearch.search.evaluation.finalists import Finalist, Raced
from bloodsearch.search.report.build import build
from bloodsearch.search.report.choice import choice
from bloodsearch.search.report.gather import gather
from bloodsearch.search.report.page import layout, write
from bloodsearch.search.report.parts import Report, Section, Table
from bloodsearch.search.report.sections import where_the_best_lie
from bloodsearch.search.results import Spread, spread_text
from bloodsearch.search.study import create_or_resume

VALUES: list[float | None] = [0.6, 0.9, None, 0.92, 0.7, 0.91, None, 0.93, 0.72, 0.9, 0.71, 0.89]


def with_result(storage: Storage) -> None:
    opening = ledger.record_opening(
        storage, "tiny", trial=7, n_replicates=2, data_hash="x", forced=False
    )
    ledger.record_result(storage, opening, RESULT)


def test_the_report_is_whole_and_needs_no_network(
    storage: Storage, make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("a report must not open the test split")

    monkeypatch.setattr(opening, "open_test_split", forbidden)
    monkeypatch.setattr(data_module, "open_test_split", forbidden)
    study = make_study(VALUES)
    with_result(storage)
    files = write(build(storage, study, None), tmp_path)
    assert files[0] == tmp_path / "report.html"
    assert all(f.stat().st_size > 0 for f in files)
    html = files[0].read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert all(s.startswith(("data:image/svg+xml;base64,", "#")) for s in sources)
    assert "SYNTHETIC DATA" in html
    names = {f.stem for f in files if f.suffix == ".svg"}
    assert names == {f.stem for f in files if f.suffix == ".png"}
    promised = "samples classes history curves families importances pareto per-class"
    promised += " confusion-percent slices-the"
    assert set(promised.split()) - {"slices-the"} <= names
    assert any(name.startswith("slices") for name in names)
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", markdown):
        assert (tmp_path / link).is_file(), link
    with (tmp_path / "tables" / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["val. macro-F1"]) for r in rows] == sorted(
        (v for v in VALUES if v is not None), reverse=True
    )[: len(rows)]
    card = (tmp_path / "model-card.md").read_text(encoding="utf-8")
    assert "opened once" in card
    assert "Not a medical device" in card
    assert "not on blood cells" in card


@pytest.mark.parametrize(
    ("widths", "there"),
    [([24] * 3 + [16] * 9, "cnn_width = 24"), ([16, 24, 32] * 4, "cnn_width from 16 to 32")],
)
def test_where_the_best_lie_is_a_value_or_a_range(
    storage: Storage, make_study: MakeStudy, widths: list[int], there: str
) -> None:
    trials = [
        dataclasses.replace(trial, value=1 - trial.number / 100, searched={"cnn_width": width})
        for trial, width in zip(
            gather(storage, make_study([0.9] * len(widths)), None).trials, widths, strict=True
        )
    ]
    text = where_the_best_lie(trials, ["cnn_width"], {"cnn_width": IntDistribution(8, 64)})
    assert text == f"The best 3 of 12 complete trials have {there}"


def test_a_wide_range_of_the_best_is_not_worth_a_title(
    storage: Storage, make_study: MakeStudy
) -> None:
    trials = [
        dataclasses.replace(trial, value=0.9, searched={"cnn_width": width})
        for trial, width in zip(
            gather(storage, make_study([0.9] * 12), None).trials, [8, 64, 32] * 4, strict=True
        )
    ]
    assert where_the_best_lie(trials, ["cnn_width"], {"cnn_width": IntDistribution(8, 64)}) == ""


def test_the_winner_is_the_final_evaluations(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study([0.5, 0.9, 0.4, 0.8, 0.3, 0.2, 0.1, 0.7])
    assert getattr(gather(storage, study, None).winner, "number", None) == 1
    with_result(storage)
    assert getattr(gather(storage, study, None).winner, "number", None) == 7


def test_the_second_stage_is_shown_and_its_winner_is_the_winner(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study([0.90, 0.92, 0.91])
    raced = Raced(
        [Finalist(2, 0.91, [0.905, 0.903], 1002, 1.5), Finalist(1, 0.92, [0.89], 1001, None)],
        sd=0.003,
        winner=2,
        prefer="best",
    )
    study.set_user_attr("selection", raced.as_dict())
    report = build(storage, study, None)
    (section,) = [s for s in report.sections if s.title == "The choice of the winner"]
    assert "too high by 0.0180" in section.text[0]  # (0.006 + 0.030) / 2
    assert [row[0] for row in section.tables[0].rows] == [2, 1]
    assert ("winner", "trial 2, mlp") in report.facts


def test_a_trial_that_was_named_was_not_chosen_by_an_earlier_race(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study([0.5, 0.9, 0.4, 0.8, 0.3, 0.2, 0.1, 0.7])
    raced = Raced([Finalist(1, 0.9, [0.9], 1001, None)], sd=0.003, winner=1, prefer="best")
    study.set_user_attr("selection", raced.as_dict())
    assert "Chosen by validation macro-F1" in build(storage, study, None).card
    with_result(storage)  # of trial 7
    report = build(storage, study, None)
    (section,) = [s for s in report.sections if s.title == "The choice of the winner"]
    assert not section.tables
    assert "Named by hand" in report.card


@pytest.mark.parametrize("values", [[], [None], [0.5]], ids=["empty", "pruned", "one"])
def test_few_trials_and_no_final_evaluation(
    storage: Storage, make_study: MakeStudy, tmp_path: Path, values: list[float | None]
) -> None:
    files = write(build(storage, make_study(values), None), tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "`bloodsearch final-eval` retrains the winner" in text
    assert ("`bloodsearch optimize`" in text) == (values != [0.5])
    assert (tmp_path / "model-card.md" in files) == (values == [0.5])


def test_commands_are_code_and_all_else_is_text(tmp_path: Path) -> None:
    section = Section("s", ["run `bloodsearch optimize <N>`, if a < b"], warnings=["`x`"])
    table = Table("t", "t", ["a"], [["`y`"], ["<script>"]])
    write(Report("t", [], [section, Section("u", tables=[table])]), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "run <code>bloodsearch optimize &lt;N&gt;</code>, if a &lt; b" in html
    assert "<code>x</code>" in html
    assert "<code>y</code>" in html
    assert "<script>" not in html


def test_the_model_card_says_what_each_opening_was_for(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study([0.5, 0.9, 0.4, 0.8, 0.3, 0.2, 0.1, 0.7])
    with_result(storage)
    opening = ledger.record_opening(
        storage, "tiny", trial=7, n_replicates=2, data_hash="x", forced=True
    )
    ledger.record_result(storage, opening, {"check": "exported files against the final evaluation"})
    card = build(storage, study, None).card
    assert "opened 2 times" in card
    assert re.search(r"opening 1, .*, 2 replicates\n", card)
    assert "2 replicates, exported files against the final evaluation\n" in card


def test_other_data_cost_their_pictures_only(
    storage: Storage, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study([0.5, 0.6])
    data = dict(study.user_attrs["data"], content_hash="another")
    study.set_user_attr("data", data)
    report = build(storage, study, None)
    assert [s for s in report.sections if any("not the study's" in w for w in s.warnings)]
    assert "samples" not in [p.name for s in report.sections for p in s.pictures]


def raced(*finalists: Finalist) -> dict[str, Any]:
    return Raced(list(finalists), sd=0.003, winner=finalists[0].trial, prefer="best").as_dict()


@pytest.mark.parametrize(
    ("values", "words"),
    [([[0.939], [0.92]], "was not measured"), ([[0.93, 0.95], [0.90, 0.92]], "over seeds 0.0141")],
)
def test_an_assumed_spread_is_not_printed_as_a_measurement(
    storage: Storage, make_study: MakeStudy, values: list[list[float]], words: str
) -> None:
    study = make_study([0.90, 0.92])
    finalists = [Finalist(i, 0.9, v, 1000, None) for i, v in enumerate(values)]
    study.set_user_attr("selection", raced(*finalists))
    (text,) = choice(gather(storage, study, None)).text
    assert words in text
    assert "0.003" not in text


def test_search_values_below_the_fresh_means_are_not_too_high_by_a_negative_number(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study([0.90, 0.92])
    study.set_user_attr("selection", raced(Finalist(0, 0.90, [0.9027], 1, None)))
    (text,) = choice(gather(storage, study, None)).text
    assert "too low by 0.0027" in text
    assert "too high" not in text


def test_a_ladder_is_not_described_as_the_second_stage(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study([0.90, 0.92])
    finalists = [Finalist(0, 0.90, [0.97], 1, None), Finalist(1, 0.92, [0.96], 1, None)]
    raced = Raced(finalists, sd=0.003, winner=0, prefer="best", undecided=[1], is_ladder=True)
    study.set_user_attr("selection", raced.as_dict())
    section = choice(gather(storage, study, None))
    (text,) = section.text
    assert "the last 2 to the final length, where the worse half left after each seed" in text
    assert "The winner's first training is among its replicates" in text
    assert "left early" not in text
    assert "--rounds" not in text  # it leaves the ladder
    assert section.tables[0].columns[2] == "mean at the final length"


def test_one_replicate_has_no_spread(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study([0.5, 0.9, 0.4, 0.8, 0.3, 0.2, 0.1, 0.7])
    one = {"mean": 0.9, "std": 0.0, "n": 1, "values": [0.9], "interval_95": [0.88, 0.92]}
    result = RESULT | {key: one for key in RESULT if key.startswith(("test_m", "test_a", "val"))}
    opening = ledger.record_opening(
        storage, "tiny", trial=7, n_replicates=1, data_hash="x", forced=False
    )
    ledger.record_result(storage, opening, result | {"replicates": 1, "seeds": [1]})
    report = build(storage, study, None)
    assert dict(report.facts)["test macro-F1"] == "0.9000, " + spread_text(Spread.read(one))
    scores = next(t for s in report.sections for t in s.tables if t.name == "final_scores")
    assert scores.rows[0][2] is None
    assert "| test macro-F1 | 0.9000 | - | 1 |" in report.card


def test_refits_that_all_diverged_are_named(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study([0.5, 0.9, 0.4, 0.8, 0.3, 0.2, 0.1, 0.7])
    with_result(storage)
    refits = create_or_resume(
        storage, "tiny-final-7-train-val", tiny_study(), FINGERPRINT, kind="refits"
    )
    for seed in RESULT["seeds"]:
        fake_trial(refits, seed, None, stop_reason="diverged: loss nan")
    (warning,) = build(storage, study, None).sections[0].warnings
    assert "every seed of that diverged" in warning
    fake_trial(refits, 2, 0.9)
    assert not build(storage, study, None).sections[0].warnings


def test_declared_options_are_shown_beside_the_plain_figure(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study([0.5, 0.9, 0.4, 0.8, 0.3, 0.2, 0.1, 0.7])
    score = RESULT["test_macro_f1"]
    option = {"option": "ensemble", "test_macro_f1": score, "test_accuracy": score}
    opening = ledger.record_opening(
        storage, "tiny", trial=7, n_replicates=2, data_hash="x", forced=False
    )
    ledger.record_result(storage, opening, RESULT | {"declared_options": [option]})
    tables = {t.name: t for t in build(storage, study, None).sections[0].tables}
    assert tables["declared_options"].rows[0][:2] == ("ensemble", 0.9)


@pytest.mark.parametrize(
    ("n", "cell", "shape"),
    [(9, 1.5, "matrix"), (9, "arch=cnn", "stack"), (3, "short", ""), (3, "a" * 40, "stack")],
)
def test_tables_fit_a_narrow_screen(n: int, cell: str | float, shape: str) -> None:
    rows = [["class", *[cell] * (n - 1)]]
    assert layout(Table("t", "t", [str(i) for i in range(n)], rows)) == shape


def test_no_title_holds_a_character_that_pictures_escape(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study(VALUES)
    with_result(storage)
    for section in build(storage, study, None).sections:
        for picture in section.pictures:
            assert picture.title.isprintable(), picture.name
