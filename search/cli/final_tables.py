"""Show the second stage, the final evaluation and the baselines' evaluation as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..results import Race, Spread, spread_text
from . import output


def show_race(raced: dict[str, Any]) -> None:
    """Show the second stage on standard error: the result follows on standard output."""
    from ..evaluation.race_text import finalist_rows, race_text

    columns = ["finalist#", "search value#", "mean of fresh seeds#", "n#", "parameters#"]
    output.table([*columns, "ms per image#", ""], finalist_rows(raced), to=output.stderr)
    output.message(race_text(Race.read(raced)))


def show_result(result: dict[str, Any]) -> None:
    """Show the final evaluation."""
    n = result["replicates"]
    output.line(
        f"final evaluation of trial {result['trial']}, {n} replicates, on {result['dataset']}"
    )
    rows = [_row(label, result[key]) for label, key in _METRICS]
    output.table(["", "mean#", "sd over seeds#", "n#", "values"], rows)
    if result["diverged_seeds"]:
        output.line(
            f"{len(result['diverged_seeds'])} of {result['replicates_asked']} replicates diverged and are "
            "not part of these figures"
        )
    output.line(f"test macro-F1: {spread_text(Spread.read(result['test_macro_f1']))}")
    output.line(
        f"search value {result['search_value']:.4f}, minus the replicates' mean on validation: "
        f"{result['search_value_minus_replicates']:+.4f}"
    )
    output.table(
        ["class", "precision#", "recall#", "F1#", "n#"],
        [(c["name"], c["precision"], c["recall"], c["f1"], c["n"]) for c in result["per_class"]],
    )
    names = [c["name"] for c in result["per_class"]]
    output.table(
        [f"true class, predicted as (sum of {n})", *(f"{name[:6]}#" for name in names)],
        [(name, *row) for name, row in zip(names, result["confusion_matrix"], strict=True)],
    )
    if result["declared_options"]:
        rows = [
            (o["option"], o["test_macro_f1"]["mean"], o["test_accuracy"]["mean"], o["test_macro_f1"]["n"])
            for o in result["declared_options"]
        ]  # fmt: skip
        columns = [
            "declared option, not the plain figure",
            "test macro-F1#",
            "test accuracy#",
            "n#",
        ]
        output.table(columns, rows)
    if diverged := result.get("diverged_refit_seeds"):
        output.line(
            f"{len(diverged)} of {result['replicates_asked']} trainings on train and validation together "
            "diverged and are not part of any figure"
        )
    if "BloodMNIST" in result["dataset"]:
        output.table(
            ["28x28, test split", "accuracy#", "AUC#"],
            [
                ("this evaluation", result["test_accuracy"]["mean"], result["test_auc"]["mean"]),
                *(
                    (f"{name} (MedMNIST v2)", row["accuracy"], row["auc"])
                    for name, row in result["published_28x28"].items()
                ),
            ],
        )
    output.line(f"{openings_text(result)}; the results are in {result['out']}")


def show_baselines(result: dict[str, Any]) -> None:
    """Show the evaluation of all baselines."""
    columns = ["configuration", "n#", "test macro-F1#", "sd#", "published#"]
    rows = [
        (
            c["name"], len(c["seeds"]), c["test_macro_f1"]["mean"], _std(c["test_macro_f1"]),
            c["published"].get("macro_f1"), c["test_weighted_f1"]["mean"],
            _std(c["test_weighted_f1"]), c["published"].get("weighted_f1"),
        )
        for c in result["configurations"]
    ]  # fmt: skip
    output.table([*columns, "test weighted F1#", "sd#", "published#"], rows)
    output.line(f"{openings_text(result)}; the results are in {result['out']}")


def openings_text(result: Mapping[str, Any]) -> str:
    """Return how often the test split was opened: for the study, in the storage, beside the data."""
    text = f"the test split was opened {_times(result['test_openings'])} for this study"
    if (n := result.get("test_openings_in_storage")) is not None:
        text += f", {_times(n)} in this storage"
    if n := result.get("test_openings_beside_data"):
        text += f", {_times(n)} according to the file beside the data"
    return text


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _std(spread: dict[str, Any]) -> float | str:
    return _or_dash(Spread.read(spread).known_std)


_METRICS = (
    ("test macro-F1", "test_macro_f1"),
    ("test weighted F1", "test_weighted_f1"),
    ("test accuracy", "test_accuracy"),
    ("test AUC", "test_auc"),
    ("validation macro-F1", "val_macro_f1"),
)


def _row(label: str, stored: dict[str, Any]) -> tuple[object, ...]:
    spread = Spread.read(stored)
    return label, _or_dash(spread.mean), _or_dash(spread.known_std), spread.n, spread.shown_values


def _or_dash(value: float | None) -> float | str:
    return "-" if value is None else value
