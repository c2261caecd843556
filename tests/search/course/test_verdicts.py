"""The course reports' claims: right verdicts from made-up replicates, published figures as printed."""

from __future__ import annotations

import numpy as np
import pytest

from bloodsearch.search.course.figures import forest
from bloodsearch.search.course.gather import published
from bloodsearch.search.course.verdicts import claims
from bloodsearch.search.data.registry import registered
from bloodsearch.search.report.class_figures import scores_of
from bloodsearch.studies import load_study_file

SEEDS = (1, 2, 3)


def scores(mean: float, spread: float = 0.001) -> dict[int, float]:
    """Three replicates around `mean`."""
    return {seed: mean + spread * step for seed, step in zip(SEEDS, (-1.0, 0.3, 0.7), strict=True)}


def verdicts(report: str, values: dict[str, dict[int, float]]) -> dict[str, str]:
    best = {"mlp": "A-mlp-sgd-0.1", "cnn": "A-cnn-sgd-0.1"}
    return {claim.text: claim.spoken() for claim in claims(report, values, best)}


def test_report_a() -> None:
    # what is paired differs by more than its spread, or by less, or the other way round
    noisy = {1: 0.90, 2: 0.95, 3: 0.93}
    found = verdicts(
        "report_a",
        {
            "A-cnn": scores(0.93),
            "A-mlp": scores(0.84),
            "A-cnn-ce": noisy,
            "A-mlp-sgd-0.1": scores(0.86, 0.002),
            "A-cnn-sgd-0.1": scores(0.87),
            "A-mlp-64": scores(0.80),
            "A-mlp-4096": scores(0.8405),
        },
    )
    assert found == {
        "The CNN beats the MLP": "holds",
        "The weighted loss helps the CNN": "cannot be told at n = 3",
        "Adam beats SGD (MLP)": "does not hold",
        "Adam beats SGD (CNN)": "holds",
        "A larger MLP is better ...": "holds",
        "... up to a point": "holds",
    }


def test_a_verdict_counts_all_claims_of_the_table() -> None:
    """Holm: a claim with p = 0.03 holds alone and among claims that are clear, not among unclear ones."""
    weak = {1: 0.93, 2: 0.94, 3: 0.95}  # 0.02, 0.03, 0.04 above the other: t = 5.2, p = 0.035
    values = {"A-cnn": weak, "A-cnn-ce": dict.fromkeys(SEEDS, 0.91)}
    (only,) = claims("report_a", values, {})
    assert (only.spoken(), only.alone) == ("holds", "holds")
    clear = values | {"A-mlp": dict.fromkeys(SEEDS, 0.2), "A-mlp-64": scores(0.1)}
    shown = [claim.spoken() for claim in claims("report_a", clear, {})]
    assert shown == ["holds"] * 3
    unclear = clear | {"A-mlp-64": {1: 0.1, 2: 0.3, 3: 0.2}}
    found = {claim.text: claim for claim in claims("report_a", unclear, {})}
    claim = found["The weighted loss helps the CNN"]
    assert claim.verdict == "cannot be told"
    assert claim.spoken() == "cannot be told at n = 3 (holds as the only claim, not as one of 3)"
    assert found["The CNN beats the MLP"].verdict == "holds"
    # beside the figure there is no room for more
    (axes,) = forest(list(found.values()), "claims").axes
    assert "cannot be told at n = 3" in axes.get_yticklabels()[1].get_text().splitlines()


def test_report_b_nll_is_cross_entropy() -> None:
    values = {
        f"B-{f}-{i}": scores(0.9 if f == "cnn" else 0.8)
        for f in ("mlp", "cnn")
        for i in (1, 2, 3, 4)
    }
    found = verdicts("report_b", values)
    assert found["The CNN beats the MLP"] == "holds"
    same = "holds: the same on every seed"
    assert found["NLL on log-softmax equals cross-entropy (MLP)"] == same
    for i in (3, 4):
        values[f"B-mlp-{i}"] = scores(0.78)
    found = verdicts("report_b", values)
    assert found["NLL on log-softmax equals cross-entropy (MLP)"] == "does not hold"
    assert found["NLL on log-softmax equals cross-entropy (CNN)"] == same
    # the optimizers are the same, then two points apart
    assert found["Adam and SGD end up alike (CNN)"] == same
    assert found["Adam and SGD end up alike (MLP)"] == same
    values["B-mlp-2"] = scores(0.84)
    assert verdicts("report_b", values)["Adam and SGD end up alike (MLP)"] == "does not hold"
    values["B-cnn-3"] = scores(0.901)
    assert verdicts("report_b", values)["NLL on log-softmax equals cross-entropy (CNN)"] == "holds"


def test_a_claim_without_its_configurations_is_left_out() -> None:
    assert set(verdicts("report_a", {"A-cnn": scores(0.9), "A-mlp": scores(0.8)})) == {
        "The CNN beats the MLP"
    }
    assert verdicts("report_a", {"A-cnn": {1: 0.9}, "A-mlp": {2: 0.8}}) == {}


def test_the_published_matrices_give_the_printed_scores() -> None:
    facts = published("report_b")
    assert facts is not None
    printed = {b.name: b.published["weighted_f1"] for b in load_study_file("report_b").baselines}
    assert set(facts["confusion"]) == set(printed)
    for name, matrix in facts["confusion"].items():
        counts = np.asarray(matrix)
        assert counts.sum() == registered("bloodmnist").n_images["test"]
        rows = scores_of(counts, registered("bloodmnist").classes)
        weighted = sum(r["f1"] * r["n"] for r in rows) / counts.sum()
        # one is misprinted, and the page says so
        expected = 0.8866 if name == "B-mlp-1" else printed[name]
        assert weighted == pytest.approx(expected, abs=6e-5), name
    assert any("88.66" in text for text in facts["misprints"]["scores"])
    platelets = {name: matrix[7][7] for name, matrix in facts["confusion"].items()}
    assert {name for name, n in platelets.items() if n != 470} == {"B-cnn-3"}
    assert platelets["B-cnn-3"] == 469


def test_report_as_misprints_are_true() -> None:
    facts = published("report_a")
    assert facts is not None
    assert (
        sum(facts["true_class_counts"])
        == sum(facts["class_counts"])
        == sum(registered("bloodmnist").n_images.values())
    )
    assert np.mean(facts["per_class"]["f1"]) == pytest.approx(0.931, abs=5e-4)
    assert published("bloodmnist") is None
