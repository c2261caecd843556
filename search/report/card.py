"""Write the winner's model card: what it is, how it was chosen, how good it is, its limits."""

from __future__ import annotations

import json

from ..files import finite
from ..text import markdown
from .gather import Gathered
from .words import four, plural, score, times

NO_DEVICE = "Not a medical device: it must not inform anyone's medical care."


def model_card(study: Gathered) -> str:
    """Return the card in Markdown, empty if no trial of bloodsearch is complete."""
    winner = study.winner
    if winner is None:
        return ""
    lines = [f"# Model card: trial {winner.label} of {study.info.name}", ""]
    if study.synthetic:
        lines += [
            "**Trained on drawings, not on blood cells: its scores say nothing about blood.**",
            "",
        ]
    lines += ["## The model", "", f"- {_what(study)}", *_parameters(study), ""]
    lines += ["## Data", ""]
    if study.synthetic:
        lines += ["- The synthetic data set that ships with bloodsearch."]
    else:
        lines += _origin(study)
    lines += [f"- Content hash of the data: `{study.info.fingerprint.content_hash}`", ""]
    lines += ["## Protocol", "", *_protocol(study), ""]
    lines += ["## Results", "", *_results(study), ""]
    lines += [
        "## Limits",
        "",
        *(f"- {limit}" for limit in (*_limits(study), _calibrated(study))),
        "",
    ]
    lines += ["## Environment and how to reproduce it", "", *_environment(study), ""]
    return "\n".join(markdown(line) for line in lines)


def _what(study: Gathered) -> str:
    winner = study.winner
    assert winner is not None
    kind = {"cnn": "A convolutional network", "mlp": "A multi-layer perceptron"}.get(
        winner.family, "A model"
    )
    n = winner.record.n_parameters
    weights = f"{n:,} weights" if n else "an unknown number of weights"
    return (
        f"{kind} with {weights}. It takes {'an RGB' if study.about.channels == 3 else 'a gray'} image of "
        f"{study.about.size} x {study.about.size} pixels and returns probabilities of "
        f"{len(study.about.classes)} classes: {', '.join(study.about.classes)}."
    )


def _origin(study: Gathered) -> list[str]:
    """Say where the data come from, under which licence, and whom to cite."""
    about, provenance = study.about, study.info.fingerprint.provenance
    split = "its own split" if provenance == "own" else "the official split"
    facts = [study.info.fingerprint.describe(), about.pixels, split]
    facts.append(about.license or "no licence known")
    cite = ". Cite:" if about.citations else f". {about.source}".rstrip(". ")
    return [f"- {', '.join(facts)}{cite}", *(f"  - {citation}" for citation in about.citations)]


def _limits(study: Gathered) -> list[str]:
    about = study.about
    shown = f"images of {about.about}" if about.about else "images of one data set"
    return [
        about.limits
        or f"The model was trained on {about.size} x {about.size} {shown}. Its performance on images from "
        "other devices, places or people is unknown.",
        f"It knows {len(about.classes)} classes. An image of anything else still gets one of them.",
        NO_DEVICE,
    ]


def _parameters(study: Gathered) -> list[str]:
    assert study.winner is not None
    config = (study.final.config if study.final else None) or study.winner.record.config
    return [f"- Configuration: `{json.dumps(finite(config), allow_nan=False)}`"] if config else []


def _protocol(study: Gathered) -> list[str]:
    winner, opened = study.winner, len(study.openings)
    assert winner is not None
    best = next(t for t in study.complete if not t.foreign)
    named = study.selection is None and winner.number != best.number
    lines = [
        f"- {'Named by hand' if named else 'Chosen by validation macro-F1'} among {len(study.finished)} "
        f"finished trials, {len(study.complete)} of them complete.",
        "- The search cannot open the test split. "
        + (f"It was opened {times(opened)} for this study:" if opened else "It was never opened."),
    ]
    for o in study.openings:
        note = ", forced" if o.forced else ""
        if o.result and "check" in o.result:
            note = f", {o.result['check']}"
        whose = f"trial {o.trial}" if o.trial >= 0 else "all baselines"
        lines.append(
            f"  - opening {o.opening}, {o.opened_at}, for {whose}, "
            f"{plural(o.n_replicates, 'replicate')}{note}"
        )
    return lines


def _results(study: Gathered) -> list[str]:
    result, winner = study.final, study.winner
    assert winner is not None
    if result is None:
        return [
            f"- Validation macro-F1 {four(winner.value)} from one training. The best of "
            f"{plural(len(study.complete), 'trial')} is partly luck: `bloodsearch final-eval` measures it "
            "with fresh seeds and on the test split."
        ]
    scores = {
        "test macro-F1": result.test_macro_f1,
        "test weighted F1": result.test_weighted_f1,
        "test accuracy": result.test_accuracy,
        "validation macro-F1": result.val_macro_f1,
    }
    lines = ["| | mean | sd over seeds | n |", "|---|---|---|---|"]
    lines += [
        f"| {label} | {four(s.mean)} | {four(s.known_std)} | {s.n} |" for label, s in scores.items()
    ]
    lines += ["", f"Test macro-F1: {score(result.test_macro_f1)}."]
    lines += ["", "| class | precision | recall | F1 | test images |", "|---|---|---|---|---|"]
    lines += [
        f"| {c.name} | {c.precision:.4f} | {c.recall:.4f} | {c.f1:.4f} | {'-' if c.n is None else c.n} |"
        for c in result.per_class
    ]
    return lines


def _calibrated(study: Gathered) -> str:
    found = study.final.calibration if study.final else None
    if found is None:
        return "Whether its probabilities can be believed was not measured."
    t = ", ".join(f"{temperature:.2f}" for temperature in found.temperatures)
    return (
        f"Expected calibration error on test: {four(found.before.error.mean)}. With logits divided by the "
        f"temperatures {t} of the replicates, fitted on validation, it is {four(found.after.error.mean)}. "
        "`bloodsearch predict` does not divide."
    )


def _environment(study: Gathered) -> list[str]:
    winner = study.winner
    assert winner is not None
    record = winner.record
    versions = record.versions or study.versions
    threads = plural(record.threads, "thread") if record.threads else "an unknown number of threads"
    name, number = study.info.name, winner.number
    return [
        "- Versions: " + ", ".join(f"{key} {value}" for key, value in versions.items()),
        f"- Trained on {record.device or 'an unknown device'} with {threads} in "
        f"{record.precision or 'unknown precision'}, seed {record.seed}",
        f"- `bloodsearch replay {number} --name {name}` trains the trial again from its seed.",
        f"- `bloodsearch final-eval --name {name} --trial {number}` retrains it with fresh seeds.",
    ]
