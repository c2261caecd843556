"""Show the second stage, the final evaluation and the baselines' evaluation as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..results import Race, Spread, spread_text
from . import output

LONGEST_NAME = 12
"""Letters of a class's name before a row of the confusion matrix."""
GAP = 2
N_ERRORS = 8


def show_race(raced: dict[str, Any]) -> None:
    """Show the second stage on standard error: the result follows on standard output."""
    from ..evaluation.race_text import finalist_rows, race_text

    columns = ["trial#", "in the search#", "fresh mean#", "n#", "weights#", "ms/image#", ""]
    output.cut_table(columns, finalist_rows(raced), to=output.stderr)
    output.message(race_text(Race.read(raced)))


def show_result(result: dict[str, Any]) -> None:
    """Show the final evaluation."""
    n = result["replicates"]
    output.wrapped(
        f"final evaluation of trial {result['trial']}, {n} replicates, on {result['dataset']}"
    )
    rows = [_row(label, result[key]) for label, key in _METRICS if key in result]
    output.line()
    output.cut_table(["", "mean#", "sd over seeds#", "n#", "values"], rows)
    output.line()
    if result["diverged_seeds"]:
        output.wrapped(
            f"{len(result['diverged_seeds'])} of {result['replicates_asked']} replicates diverged and are "
            "not part of these figures"
        )
    output.wrapped(f"test macro-F1: {spread_text(Spread.read(result['test_macro_f1']))}")
    retrained = Spread.read(result["val_macro_f1"])
    if retrained.mean is not None:
        output.wrapped(
            f"on validation: {result['search_value']:.4f} in the search, {retrained.mean:.4f} when "
            f"retrained for the final evaluation (n = {retrained.n})"
        )
    selection = result.get("selection")
    if selection and (n_chose := Race.read(selection).n_chose):
        trainings = "training" if n_chose == 1 else f"{n_chose} trainings"
        output.wrapped(
            f"the first {trainings} of the winner chose it on validation, so that mean is a little too high"
        )
    output.line()
    output.cut_table(
        ["class", "F1#", "precision#", "recall#", "n#"],
        [
            (_short(c["name"]), c["f1"], c["precision"], c["recall"], c["n"])
            for c in result["per_class"]
        ],
    )
    show_confusion([c["name"] for c in result["per_class"]], result["confusion_matrix"], n)
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
        output.wrapped(
            f"{len(diverged)} of {result['replicates_asked']} trainings on train and validation together "
            "diverged and are not part of any figure"
        )
    if beside := result.get("published_28x28"):
        output.table(
            ["28x28, test split", "accuracy#", "AUC#"],
            [
                ("this evaluation", result["test_accuracy"]["mean"], result["test_auc"]["mean"]),
                *(
                    (f"{name} (MedMNIST v2)", row.get("accuracy"), row.get("auc"))
                    for name, row in beside.items()
                ),
            ],
        )
    output.line()
    output.wrapped(f"{openings_text(result)}; the results are in {result['out']}")


def show_confusion(
    names: Sequence[str], matrix: Sequence[Sequence[int]], n_replicates: int
) -> None:
    """Show a confusion matrix, or its largest errors where the screen is too narrow for it."""
    output.line()
    summed = "" if n_replicates == 1 else f" (sum of {n_replicates} replicates)"
    n_digits = max(len(str(count)) for row in matrix for count in row)
    room = (output.width() - LONGEST_NAME) // len(names) - GAP
    if room >= max(n_digits, 3):
        output.line(f"confused classes{summed}: rows are true, columns predicted")
        heads = [f"{name[: min(room, 6)]}#" for name in names]
        rows = [(_short(name), *row) for name, row in zip(names, matrix, strict=True)]
        output.cut_table(["", *heads], rows)
        return
    errors = [
        (count, f"{names[i]} taken for {names[j]}")
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if i != j and count
    ]
    output.line(f"most confused classes{summed}")
    output.cut_table(["images#", ""], sorted(errors, key=lambda e: (-e[0], e[1]))[:N_ERRORS])


def _short(name: str) -> str:
    """Return a class's name in at most LONGEST_NAME letters: "imm. gran."."""
    if len(name) <= LONGEST_NAME:
        return name
    words = name.split()
    if len(words) == 1:
        return name[: LONGEST_NAME - 1] + "."
    each = (LONGEST_NAME + 1) // len(words) - 2
    return " ".join(word if len(word) <= each + 1 else word[:each] + "." for word in words)[
        :LONGEST_NAME
    ]


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
    lost: dict[str, int | str] = {
        c["name"]: len(c.get("diverged_seeds") or ()) for c in result["configurations"]
    }
    lost |= dict.fromkeys(result.get("all_diverged") or (), "all")
    for name, n in lost.items():
        if n:
            output.line(f"replicates of {name} that diverged: {n}; no figure includes them")
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
    ("test quadratic kappa", "test_quadratic_kappa"),
    ("validation macro-F1", "val_macro_f1"),
)


def _row(label: str, stored: dict[str, Any]) -> tuple[object, ...]:
    spread = Spread.read(stored)
    return label, _or_dash(spread.mean), _or_dash(spread.known_std), spread.n, spread.shown_values


def _or_dash(value: float | None) -> float | str:
    return "-" if value is None else value
