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
import os
import statistics
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import in_own_process, result_path, save, table
from bloodsearch.search.sampling.space import Params

RECIPE: Params = {
    "arch": "cnn", "optimizer": "muon", "lr": 0.01, "weight_decay": 0.05, "batch_size": 128,
    "label_smoothing": 0.1, "loss": "cross_entropy", "schedule": "one_cycle", "augment": "dihedral",
    "shift": 2, "ema": 0.998, "cnn_blocks": 3, "cnn_width": 16, "cnn_convs": 2, "cnn_residual": True,
    "cnn_norm": True, "cnn_head": "max", "cnn_dropout": 0.2,
}  # fmt: skip
EPOCHS = 40
N_TEACHERS, N_STUDENTS = 5, 5
MIXES = {"the ensemble's probabilities": 1.0, "half of them, half the labels": 0.5}
"""Names of students, and the ensemble's share of their labels."""
FOLDER = Path(tempfile.gettempdir()) / "bloodsearch-distillation"


def child(what: str, seed: int) -> None:
    """Train a teacher ("") or a student of a mix once, and print its validation macro-F1 as JSON.

    The probabilities of training and validation images, averaged over orientations, go to FOLDER.
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
    if what:
        # in place of the loss of labels; the order and augmentation of the images stay those of the seed
        share = MIXES[what]
        labels = F.one_hot(data.train_labels, 8).float()
        targets = share * torch.from_numpy(teachers("train")).float() + (1 - share) * labels
        training.data = type(data)(
            data.train_images, targets, data.val_images, data.val_labels, data.fingerprint
        )
        training.step.loss = lambda logits, soft: F.cross_entropy(logits.float(), soft)
    values: list[float] = []
    training.train(lambda result: values.append(result.val_macro_f1), lambda: False, None)

    def predict(images: Any) -> Any:
        logits = predict_logits(training.validated, torch.as_tensor(images), training.dtype)
        return logits.softmax(dim=1).numpy()

    plain = predict(data.val_images)
    saved = {"val": plain, "val_turned": over_orientations(predict, data.val_images.numpy())}
    if not what:
        saved["train"] = over_orientations(predict, data.train_images.numpy())
        np.savez(FOLDER / f"{seed}.npz", **saved)
    labels_of_val = data.val_labels.numpy()
    print(json.dumps({"last": values[-1], "turned": macro_f1(saved["val_turned"], labels_of_val)}))


def teachers(part: str) -> Any:
    """Return the mean probabilities (n, classes) of all teachers for a part of what they predicted."""
    return np.mean([np.load(FOLDER / f"{seed}.npz")[part] for seed in range(N_TEACHERS)], axis=0)


def macro_f1(probabilities: Any, labels: Any) -> float:
    from bloodsearch.search.evaluation.scoring import confusion_of
    from bloodsearch.search.training.metrics import scores

    return scores(confusion_of(labels, probabilities.argmax(axis=1), 8)).macro_f1


def run() -> None:
    from bloodsearch.search.data.load import load_dataset

    FOLDER.mkdir(exist_ok=True)
    path = result_path("distillation")
    runs: dict[str, dict[str, float]] = {}
    if path.exists():
        runs = json.loads(path.read_text())["result"]["runs"]
    one_writes = threading.Lock()

    def one(task: tuple[str, int]) -> None:
        what, seed = task
        key = f"{what or 'teacher'}, seed {seed}"
        if key in runs and (what or (FOLDER / f"{seed}.npz").exists()):
            return
        found = in_own_process("distillation", "--child", what, str(seed))
        with one_writes:
            runs[key] = found
            print(key, found, flush=True)
            save("distillation", {"runs": runs})

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, [("", seed) for seed in range(N_TEACHERS)]))
        # seeds of their own: a student does not begin with the weights of a teacher
        students = range(N_TEACHERS, N_TEACHERS + N_STUDENTS)
        list(pool.map(one, [(what, seed) for seed in students for what in MIXES]))
    labels = np.asarray(load_dataset("bloodmnist").val_labels).reshape(-1)
    ensemble = {
        "ensemble of the teachers": macro_f1(teachers("val"), labels),
        "the same over eight orientations": macro_f1(teachers("val_turned"), labels),
    }
    rows = [_row("teachers, trained on the labels", runs, "teacher", range(N_TEACHERS))]
    rows += [[name, "1", f"{value:.4f}", ""] for name, value in ensemble.items()]
    rows += [_row(f"students: {what}", runs, what, students) for what in MIXES]
    columns = ["what", "n", "validation macro-F1 (sd)", "each over eight orientations"]
    table(f"one network of the ensemble's worth? {EPOCHS} epochs, 16 filters", columns, rows)
    save("distillation", {"runs": runs, "ensemble": ensemble})


def _row(name: str, runs: dict[str, dict[str, float]], what: str, seeds: range) -> list[str]:
    of = [runs[f"{what}, seed {seed}"] for seed in seeds]
    cells = [
        f"{statistics.fmean(values):.4f} ({statistics.stdev(values):.4f})"
        for values in ([run["last"] for run in of], [run["turned"] for run in of])
    ]
    return [name, str(len(of)), *cells]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    run() if given.child is None else child(given.child[0], int(given.child[1]))
