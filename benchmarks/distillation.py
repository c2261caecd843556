"""Does one network keep what an ensemble gains? Students trained on the ensemble's probabilities.

    python -m benchmarks distillation      # continues where it stopped, if its folder is still there

N_TEACHERS seeds of one recipe are the ensemble. Its probabilities for the training images, averaged over
seeds and orientations, take the labels' place (Hinton, Vinyals, Dean 2015, arXiv 1503.02531): alone, or mixed
half and half with the labels. A student is the same network, trained as long. All are compared on the
validation split, with the last weights. The test split stays closed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import in_own_process, in_parallel, result_path, save, table
from benchmarks.whole_searches import HAND_MADE
from benchmarks.whole_tables import mean_and_sd
from bloodsearch.search.sampling.space import Params

RECIPE: Params = HAND_MADE | {"cnn_width": 16}
EPOCHS = 40
N_TEACHERS, N_STUDENTS = 5, 5
TEACHER = "teacher"
MIXES = {"the ensemble's probabilities": 1.0, "half of them, half the labels": 0.5}
"""Names of students, and the ensemble's share of their labels."""
FOLDER = Path(tempfile.gettempdir()) / "bloodsearch-distillation"


def child(what: str, seed: int) -> None:
    """Train TEACHER or a student of a mix once, and print its validation macro-F1 as JSON.

    A teacher's probabilities of training and validation images go to FOLDER.
    """
    import torch
    from torch.nn import functional as F

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.evaluation.averaging import over_orientations
    from bloodsearch.search.sampling.space import to_config
    from bloodsearch.search.training.device import choose_precision, to_device
    from bloodsearch.search.training.loop import Training
    from bloodsearch.search.training.predict import predict_logits

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    config = to_config(RECIPE, epochs=EPOCHS, patience=0)
    training = Training(config, data, seed, None, choose_precision(data.device))
    if what != TEACHER:
        # in place of the loss of labels; the order and augmentation of the images stay those of the seed
        share = MIXES[what]
        labels = F.one_hot(data.train_labels, 8).float()
        targets = share * torch.from_numpy(teachers("train")).float() + (1 - share) * labels
        training.data = replace(data, train_labels=targets)
        training.step.loss = lambda logits, soft: F.cross_entropy(  # type: ignore[assignment]
            logits.float(), soft
        )
    values: list[float] = []
    training.train(lambda result: values.append(result.val_macro_f1), lambda: False, None)

    def predict(images: Any) -> Any:
        logits = predict_logits(training.validated, torch.as_tensor(images), training.dtype)
        return logits.softmax(dim=1).numpy()

    turned = over_orientations(predict, data.val_images.numpy())
    if what == TEACHER:
        train = over_orientations(predict, data.train_images.numpy())
        np.savez(file(seed), val=predict(data.val_images), val_turned=turned, train=train)
    found = {"last": values[-1], "turned": macro_f1(turned, data.val_labels.numpy())}
    print(json.dumps(found))


def teachers(part: str) -> Any:
    """Return the mean probabilities (n, classes) of all teachers for a part of what they predicted."""
    return np.mean([np.load(file(seed))[part] for seed in range(N_TEACHERS)], axis=0)


def macro_f1(probabilities: Any, labels: Any) -> float:
    from bloodsearch.search.evaluation.scoring import confusion_of
    from bloodsearch.search.training.metrics import scores

    return scores(confusion_of(labels, probabilities.argmax(axis=1), 8)).macro_f1


def key(what: str, seed: int) -> str:
    return f"{what}, seed {seed}"


def file(seed: int) -> Path:
    """Return where a teacher's probabilities are."""
    return FOLDER / f"{seed}.npz"


def run() -> None:
    from bloodsearch.search.data.load import load_dataset

    FOLDER.mkdir(exist_ok=True)
    path = result_path("distillation")
    runs: dict[str, dict[str, float]] = {}
    if path.exists():
        runs = json.loads(path.read_text())["result"]["runs"]

    def train(task: tuple[str, int]) -> dict[str, float]:
        what, seed = task
        found: dict[str, float] = in_own_process("distillation", "--child", what, str(seed))
        return found

    def keep(task: tuple[str, int], found: dict[str, float]) -> None:
        runs[key(*task)] = found
        print(key(*task), found, flush=True)
        save("distillation", {"runs": runs})

    of_teachers = [(TEACHER, seed) for seed in range(N_TEACHERS)]
    # seeds of their own: a student does not begin with the weights of a teacher
    students = range(N_TEACHERS, N_TEACHERS + N_STUDENTS)
    of_students = [(what, seed) for seed in students for what in MIXES]
    in_parallel(
        [t for t in of_teachers if key(*t) not in runs or not file(t[1]).exists()], train, keep
    )
    in_parallel([t for t in of_students if key(*t) not in runs], train, keep)
    labels = np.asarray(load_dataset("bloodmnist").val_labels).reshape(-1)
    ensemble = {
        "ensemble of the teachers": macro_f1(teachers("val"), labels),
        "the same over eight orientations": macro_f1(teachers("val_turned"), labels),
    }
    rows = [_row("teachers, trained on the labels", runs, TEACHER, range(N_TEACHERS))]
    rows += [[name, "1", f"{value:.4f}", ""] for name, value in ensemble.items()]
    rows += [_row(f"students: {what}", runs, what, students) for what in MIXES]
    columns = ["what", "n", "validation macro-F1 (sd)", "each over eight orientations"]
    table(f"one network of the ensemble's worth? {EPOCHS} epochs, 16 filters", columns, rows)
    save("distillation", {"runs": runs, "ensemble": ensemble})


def _row(name: str, runs: dict[str, dict[str, float]], what: str, seeds: range) -> list[str]:
    of = [runs[key(what, seed)] for seed in seeds]
    cells = [mean_and_sd([run[figure] for run in of]) for figure in ("last", "turned")]
    return [name, str(len(of)), *cells]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    run() if given.child is None else child(given.child[0], int(given.child[1]))
