"""The winner's model card: what it is, how it was chosen, how good it is, what it is not for."""

from __future__ import annotations

import json

from ..records import Spread, spread_text
from ..text import markdown
from .classes import times
from .gather import Gathered

CITATIONS = (
    "Acevedo, A., Merino, A., Alférez, S., Molina, Á., Boldú, L., Rodellar, J.: A dataset of microscopic "
    "peripheral blood cell images for development of automatic recognition systems. Data in Brief 30, "
    "105474 (2020). Mendeley Data, doi:10.17632/snkd93bnjr.1",
    "Yang, J., Shi, R., Wei, D., Liu, Z., Zhao, L., Ke, B., Pfister, H., Ni, B.: MedMNIST v2: a large-scale "
    "lightweight benchmark for 2D and 3D biomedical image classification. Scientific Data 10, 41 (2023)",
)
LIMITS = (
    "28 x 28 research images of single, centred, stained cells from one hospital's analyser: nothing is "
    "known about other stains, microscopes, diseases or whole smears.",
    "Eight classes; a cell of any other kind, an artefact or an empty image gets one of them all the same.",
    "Probabilities are not calibrated.",
    "Not a medical device. It must not inform the care of anyone.",
)


def model_card(study: Gathered) -> str:
    """Markdown; empty when no trial is complete."""
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
        lines += ["- The synthetic set that comes with bloodsearch."]
    else:
        lines += [
            f"- {study.info.fingerprint.describe()}, 28 x 28, the official split, CC BY 4.0. Cite both:"
        ]
        lines += [f"  - {citation}" for citation in CITATIONS]
    lines += [f"- Content hash of the data: `{study.info.fingerprint.content_hash}`", ""]
    lines += ["## Protocol", "", *_protocol(study), ""]
    lines += ["## Results", "", *_results(study), ""]
    lines += ["## Limits", "", *(f"- {limit}" for limit in LIMITS), ""]
    lines += ["## Environment and how to reproduce it", "", *_environment(study), ""]
    return "\n".join(markdown(line) for line in lines)


def _what(study: Gathered) -> str:
    winner = study.winner
    assert winner is not None
    kind = {"cnn": "A convolutional network", "mlp": "A multi-layer perceptron"}.get(
        winner.family, "A model"
    )
    n = f"{winner.n_parameters:,}" if winner.n_parameters else "an unknown number of"
    return (
        f"{kind} with {n} weights: an RGB image of 28 x 28 pixels in, probabilities of eight classes "
        "of blood cells out."
    )


def _parameters(study: Gathered) -> list[str]:
    assert study.winner is not None
    config = (study.final or {}).get("config") or (study.winner.stored.config or {})
    return [f"- Configuration: `{json.dumps(config)}`"] if config else []


def _protocol(study: Gathered) -> list[str]:
    winner, opened = study.winner, len(study.openings)
    assert winner is not None
    named = study.selection is None and winner.number != study.complete[0].number
    lines = [
        f"- {'Named by hand' if named else 'Chosen by validation macro-F1'} among {len(study.finished)} "
        f"finished trials ({len(study.complete)} complete, the others pruned).",
        "- The search cannot open the test split. "
        + (f"It was opened {times(opened)} for this study:" if opened else "It was never opened."),
    ]
    for o in study.openings:
        forced = ", forced" if o.forced else ""
        if o.result and "check" in o.result:
            forced = f", {o.result['check']}"
        whose = f"trial {o.trial}" if o.trial >= 0 else "all baselines"
        lines.append(
            f"  - opening {o.opening}, {o.opened_at}, for {whose}, {o.n_replicates} replicates{forced}"
        )
    return lines


def _results(study: Gathered) -> list[str]:
    result, winner = study.final, study.winner
    assert winner is not None
    if result is None:
        return [
            f"- Validation macro-F1 {winner.value:.4f}, one training. The best of {len(study.complete)} is "
            "partly luck: `bloodsearch final-eval` measures it with fresh seeds and on the test split."
        ]
    lines = ["| | mean | sd over seeds | n |", "|---|---|---|---|"]
    for key in ("test_macro_f1", "test_weighted_f1", "test_accuracy", "val_macro_f1"):
        found = Spread.read(result[key])
        label = key.replace("_", " ").replace("f1", "F1").replace("val ", "validation ")
        std = "-" if found.known_std is None else f"{found.known_std:.4f}"
        mean = "-" if found.mean is None else f"{found.mean:.4f}"
        lines.append(f"| {label} | {mean} | {std} | {found.n} |")
    macro = Spread.read(result["test_macro_f1"])
    lines += [
        "",
        f"Test macro-F1 {macro.mean:.4f}, {spread_text(macro)}.",
        "",
    ]
    lines += ["| class | precision | recall | F1 | test images |", "|---|---|---|---|---|"]
    for c in result["per_class"]:
        lines.append(
            f"| {c['name']} | {c['precision']:.4f} | {c['recall']:.4f} | {c['f1']:.4f} | {c['n']} |"
        )
    return lines


def _environment(study: Gathered) -> list[str]:
    winner = study.winner
    assert winner is not None
    stored = winner.stored
    versions = stored.versions or study.versions
    name, number = study.info.name, winner.number
    return [
        "- " + ", ".join(f"{key} {value}" for key, value in versions.items()),
        f"- Trained on {stored.device or 'an unknown device'}, {stored.threads or '?'} threads, "
        f"{stored.precision or '?'}; seed {winner.seed}",
        f"- `bloodsearch replay {number} --name {name}` trains the trial again from its seed; "
        f"`bloodsearch final-eval --name {name} --trial {number}` retrains it with fresh seeds.",
    ]
