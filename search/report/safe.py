"""Build the section that says in plain words how far to believe the result, and what would make it wrong."""

from __future__ import annotations

import functools

from ..evaluation.class_intervals import wilson
from ..results import Calibration, ClassScore, FinalResult
from . import calibration_figures
from .gather import Gathered
from .parts import Picture, Section, Table
from .words import four, percent, plural, times

TITLE = "Is it safe to believe this?"
NOT_MEDICAL = "No. It is not a medical device, and no doctor has checked it."
Answer = tuple[str, str]


def safe(study: Gathered) -> Section:
    """Answer what was measured, how often the test split was opened, how noisy it is, what makes it wrong."""
    final = study.final
    answers = [_measured(study), _opened(study), _chosen(study)]
    pictures: list[Picture] = []
    if final is not None:
        answers += [_noise(final), _luck(study, final), _weakest(final), _probabilities(final)]
        if final.calibration is not None:
            pictures.append(_reliability(final.calibration, final.replicates))
    answers += [
        ("Would it hold elsewhere?", _elsewhere(study)),
        ("What would make the score wrong?", _wrong(study)),
        ("May it inform medical care?", NOT_MEDICAL),
    ]
    table = Table("is_it_safe", "Questions and answers", ["question", "answer"], answers)
    return Section(TITLE, [_short(study)], pictures, [table])


def _short(study: Gathered) -> str:
    """Return the answer in one sentence or two."""
    final = study.final
    if study.synthetic:
        return "In short: no. These are drawings, made to try the program out. They say nothing about cells."
    if final is None:
        return (
            "In short: not yet. The best validation score was picked from many on the same images, so it is "
            "too high. `bloodsearch final-eval` measures the winner on images that decided nothing."
        )
    if len(study.openings) > 1:
        return (
            f"In short: with care. The test split was opened {times(len(study.openings))} for this study. "
            "Choosing among the results of several openings makes the best of them too high."
        )
    return (
        "In short: for new images from the same source, yes, within the interval below. For images from "
        "anywhere else nothing was measured."
    )


def _measured(study: Gathered) -> Answer:
    question, final, winner = "What was measured?", study.final, study.winner
    if final is None:
        if winner is None:
            return question, "Nothing yet: no trial is complete."
        return question, f"Only validation: macro-F1 {four(winner.value)}, of trial {winner.label}."
    n = sum(c.n or 0 for c in final.per_class)
    return question, (
        f"How well {plural(final.replicates, 'training')} of trial {final.trial} tell {len(final.per_class)} "
        f"classes apart on {n:,} test images of {final.dataset}. Macro-F1 is the plain mean over classes, so "
        f"a rare class counts as much as a common one: {four(final.test_macro_f1.mean)}."
    )


def _opened(study: Gathered) -> Answer:
    question, n = "How often was the test split opened?", len(study.openings)
    text = f"{times(n).capitalize()} for this study." if n else "Never for this study."
    final = study.final
    others = 0 if final is None else max(
        (final.test_openings_in_storage or 0) - final.test_openings,
        (final.test_openings_beside_data or 0) - final.test_openings,
    )  # fmt: skip
    if others > 0:
        text += (
            f" The same test images were opened {times(others)} for other studies before this result. If one "
            "of several studies is picked by its test score, that score is too high."
        )
    return question, f"{text} Openings on other machines are not counted."


def _chosen(study: Gathered) -> Answer:
    question, race = "How was the winner chosen?", study.selection
    n = plural(len(study.complete), "complete trial")
    if race is not None and race.finalists and race.is_ladder:
        last = f"{plural(len(race.finalists), 'finalist')} went on to trainings of the final length"
        if race.rungs:
            entered = len(race.rungs[0].values)
            last = f"the best {entered} went on to longer trainings. Of these, {last}"
        return question, (
            f"On validation images only. Of {n}, {last}, with fresh seeds. The means of those decided."
        )
    if race is not None and race.finalists:
        return question, (
            f"On validation images only. The best {len(race.finalists)} of {n} were trained again with fresh "
            "seeds, and the means of those decided."
        )
    best = next((t.number for t in study.complete if not t.foreign), None)
    if study.final is not None and study.final.trial != best:
        return question, f"Trial {study.final.trial} was named by hand."
    return question, f"It has the best validation score of {n}, which is partly luck."


def _noise(final: FinalResult) -> Answer:
    question, score = "How noisy is the score?", final.test_macro_f1
    parts = []
    if score.known_std is None:
        parts.append("There is one training, so the spread over seeds is unknown.")
    else:
        parts.append(
            f"Another seed changes it by {score.known_std:.4f} (standard deviation over {score.n} trainings)."
        )
    both = score.interval_95_images_and_seeds
    interval = both or score.interval_95
    if interval is not None:
        what = (
            "other test images and other seeds" if both else "other test images, but no other seed"
        )
        parts.append(
            f"The 95 % interval from {interval[0]:.4f} to {interval[1]:.4f} covers {what}. A model with a "
            "score inside it is not clearly better or worse."
        )
    return question, " ".join(parts)


def _luck(study: Gathered, final: FinalResult) -> Answer:
    question, difference = "Was the winner lucky?", final.search_value_minus_replicates
    if difference is None or final.search_value is None:
        return question, "Its search value is unknown."
    text = (
        f"In the search it had {final.search_value:.4f} on validation. Trained again it has "
        f"{four(final.val_macro_f1.mean)} (n = {final.val_macro_f1.n})"
    )
    epochs = (final.config or {}).get("epochs")
    before = None if study.winner is None else study.winner.planned_epochs
    if epochs and before and epochs != before:
        text += f", but for {epochs} epochs in place of {before}"
    return (
        question,
        f"{text}. The test score comes from fresh seeds, so luck in the search is not in it.",
    )


def _weakest(final: FinalResult) -> Answer:
    index = min(range(len(final.per_class)), key=lambda i: final.per_class[i].f1)
    one = final.per_class[index]
    _, low, high = sensitivity(final, index)
    return "Which class is weakest?", (
        f"{one.name}: {percent(one.recall)} of its {_images(one)} are recognised (95 % interval "
        f"{percent(low)} to {percent(high)}), and {percent(one.precision)} of the images that the model "
        f"calls {one.name} are that."
    )


def _images(one: ClassScore) -> str:
    return "images" if one.n is None else plural(one.n, "test image")


def _probabilities(final: FinalResult) -> Answer:
    question, found = "Can its probabilities be believed?", final.calibration
    if found is None:
        return question, (
            "Not measured: an earlier version made this result. A new final evaluation would measure it."
        )
    before, after = found.before, found.after
    return question, (
        f"On average they miss the share of right predictions by {percent(before.error.mean, 2)} (expected "
        f"calibration error on test). A perfect model would show {percent(before.error_if_perfect, 2)} by "
        f"chance. After temperature scaling, fitted on validation, it is {percent(after.error.mean, 2)}. "
        "`bloodsearch predict` prints them as they are before scaling."
    )


def _elsewhere(study: Gathered) -> str:
    return (
        f"Unknown. All images come from {study.info.fingerprint.describe()}. Another microscope, stain, "
        "scanner, hospital or group of people can make the same model much worse. An image of a kind that is "
        "not among the classes gets one of them all the same, often with a high probability."
    )


def _wrong(study: Gathered) -> str:
    text = (
        "Images of the same person, slide or device in both the training and the test split: the score is "
        "then too high, and bloodsearch cannot see whom an image is from. Wrong labels in the test split. "
        "Another mix of classes than in the test split: sensitivity may stay, but precision changes."
    )
    if study.info.fingerprint.provenance == "unofficial":
        text += (
            " The data file is not the official one, so compare with published figures carefully."
        )
    return text


def sensitivity(final: FinalResult, index: int) -> tuple[float, float, float]:
    """Return the recall of a class with its 95 % interval over test images."""
    counts = final.confusion_matrix[index]
    n = sum(counts) / final.replicates
    share = counts[index] / max(sum(counts), 1)
    return share, *wilson(share, n)


def _reliability(found: Calibration, n_replicates: int) -> Picture:
    before, after = found.before.error.mean, found.after.error.mean
    title = (
        f"Probabilities on test are off by {percent(before, 2)}, by {percent(after, 2)} after temperature "
        "scaling"
    )
    shown = ", ".join(f"{t:.2f}" for t in found.temperatures)
    return Picture(
        "reliability", title,
        functools.partial(
            calibration_figures.reliability, found.before, found.after, n_replicates, title
        ),
        "On the dashed line, predictions with a probability of 0.9 are right nine times out of ten. Below it "
        "the model is too sure, above it not sure enough. A larger dot stands for more images; a line is a "
        f"95 % interval. Temperatures of the replicates: {shown}. A temperature below 1 makes a model "
        "surer; training with label smoothing often needs that.",
    )  # fmt: skip
