"""Export a model as one file that holds preprocessing, weights and provenance.

    uint8 images (n, s, s, c) -> scaling to [-1, 1] -> model -> softmax -> probabilities (n, classes)

The file replaces an older one only after its answers have been compared with PyTorch's.
"""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from ...models import Shape
from .. import __version__
from ..data.info import DatasetInfo
from ..data.load import Dataset
from ..database.storage import Storage, options_of
from ..errors import BloodsearchError, RefusedError, UsageError
from ..evaluation import ledger
from ..evaluation.evaluated import evaluated_replicates
from ..evaluation.opening import open_on_the_record
from ..evaluation.scoring import confusion_of, load_model, predictor
from ..files import atomic_write, finite
from ..records import trial_record
from ..study import info
from ..suggest import command
from ..training.metrics import scores
from ..training.predict import scale
from .predict import METADATA_KEY, load_classifier

Format = Literal["onnx", "torch"]
N_PARITY = 256
TOLERANCE = 1e-4
"""Largest difference of any probability between the file and PyTorch."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The final evaluation's replicates and its result."""

    result: dict[str, Any]
    trials: list[FrozenTrial]

    def best(self) -> int:
        """Return the number of the replicate with the best validation macro-F1."""
        return max(range(len(self.trials)), key=lambda i: (self.trials[i].value or 0.0, -i))


class SelfContained(torch.nn.Module):
    """Maps uint8 images (n, s, s, c) to float32 class probabilities (n, classes)."""

    def __init__(self, model: torch.nn.Module, shape: Shape) -> None:
        super().__init__()
        self.model, self.shape = model, shape

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        probabilities: torch.Tensor = self.model(scale(images, torch.float32)).softmax(dim=1)
        return probabilities


def trained_replicates(storage: Storage, study: optuna.Study) -> Trained:
    """Return what `bloodsearch final-eval` trained for `study`.

    Raises RefusedError when there is no final evaluation or its weights are not on this machine.
    """
    results = [o.result for o in ledger.openings(storage, study.study_name) if o.result]
    results = [r for r in results if "seeds" in r]
    if not results:
        raise RefusedError(
            f"{study.study_name} has no final evaluation, so there are no weights to export; run "
            f"{command('final-eval', *options_of(study))}"
        )
    result = results[-1]
    return Trained(result, evaluated_replicates(storage, study.study_name, result))


def provenance(
    study: optuna.Study, trained: Trained, replicate: int, data: Dataset
) -> dict[str, Any]:
    """Return what the file says about itself.

    Its validation macro-F1 is measured in float32, as the file computes. The search may have measured in
    bfloat16, which differs by up to 0.005.
    """
    trial, result = trained.trials[replicate], trained.result
    predictions = predictor(trial)(data.val_images).argmax(axis=1)
    stored, record = info(study), trial_record(trial)
    about = stored.dataset
    colours = "RGB" if about.channels == 3 else "gray"
    return {
        "bloodsearch": __version__,
        "classes": list(about.classes),
        "task": about.task,
        "input": f"images: uint8 (n, {about.size}, {about.size}, {about.channels}), {colours}",
        "output": f"probabilities: float32 (n, {len(about.classes)}), in the order of classes",
        "preprocessing": f"inside; larger pictures: {about.preparation.describe()}",
        "preparation": about.preparation.as_json(),
        "study": study.study_name,
        "trial": result["trial"],
        "replicate": replicate,
        "seed": record.seed,
        "config": record.config,
        "dataset": stored.fingerprint.describe(),
        "data_hash": stored.fingerprint.content_hash,
        "data_licence": _licence(about),
        "val_macro_f1": scores(
            confusion_of(data.val_labels, predictions, len(about.classes))
        ).macro_f1,
        "test_macro_f1": result["test_macro_f1"]["values"][replicate],
        "test_openings": result["test_openings"],
        "versions": record.versions,
        "limits": f"{about.size}x{about.size} images of one data set; not a medical device",
    }


def _licence(about: DatasetInfo) -> str:
    """Return the licence of the data, and whom to cite."""
    origin = about.source
    if about.citations:
        origin = f"{origin}, Yang et al. 2023 (MedMNIST v2)"
    return "; ".join(filter(None, (about.license or "no licence known", origin)))


def export(
    trial: FrozenTrial, facts: dict[str, Any], data: Dataset, form: Format, out: Path
) -> float:
    """Write the model of `trial` to `out` and compare its answers with PyTorch's.

    Returns the largest difference of a probability on N_PARITY validation images. Raises BloodsearchError
    if it exceeds TOLERANCE, UsageError if `out` cannot be written. `out` then holds what it held before.

    Args:
        trial: A replicate with its weights.
        facts: What the file says about itself, from `provenance`.
        data: The data set whose validation images are compared.
        form: "onnx" or "torch".
        out: The file to write.
    """
    if os.path.isdir(out):
        raise UsageError(f"{out} is a folder; name a file in it with --out")
    model = SelfContained(load_model(trial), data.info.shape).eval()
    images = data.val_images[:N_PARITY]
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    try:
        with atomic_write(out, durable=True) as temporary:
            with _quiet():
                run = _WRITERS[form](model, facts, temporary)
            # one image alone and an odd number, too: the size of a batch must be free
            parts = [run(images[:1]), run(images[1:8]), run(images[8:])]
            difference = float(np.abs(np.concatenate(parts) - expected).max())
            if not difference <= TOLERANCE:
                raise BloodsearchError(
                    f"the {form} file differs from PyTorch by {difference:.2g} on {N_PARITY} images, "
                    f"more than {TOLERANCE:g}; it was not kept"
                )
    except OSError as error:
        raise UsageError(
            f"cannot write {out} ({error.strerror or error}); name another --out"
        ) from None
    return difference


def check_on_test(
    storage: Storage, study: optuna.Study, trained: Trained, data: Dataset, data_root: Path | None
) -> dict[str, Any]:
    """Compare exported files of all replicates with the final evaluation's confusion matrix.

    Opens the test split once more, on the record, after everything else is ready. Returns the result as the
    ledger stores it.

    Args:
        storage: The storage with the ledger.
        study: The search.
        trained: Its final evaluation.
        data: The data set, for the comparison of each file with PyTorch.
        data_root: The folder with the data.
    """
    with tempfile.TemporaryDirectory() as folder:
        classifiers = []
        for i, trial in enumerate(trained.trials):
            path = Path(folder) / f"{i}.onnx"
            export(trial, provenance(study, trained, i, data), data, "onnx", path)
            classifiers.append(load_classifier(path))
        opening, images, labels = open_on_the_record(
            storage,
            study.study_name,
            info(study).fingerprint,
            trial=trained.result["trial"],
            n_replicates=len(classifiers),
            data_root=data_root,
            forced=True,
        )
        counts = np.sum(
            [
                confusion_of(labels, c.probabilities(images).argmax(axis=1), len(c.classes))
                for c in classifiers
            ],
            axis=0,
        )
    difference = np.abs(counts - np.asarray(trained.result["confusion_matrix"])).sum()
    result = {
        "check": "exported files against the final evaluation",
        "identical": not difference,
        # an image that moved counts in two cells
        "n_different": int(difference) // 2,
        "n_images": len(images),
        "replicates": len(classifiers),
        "test_openings": len(ledger.openings(storage, study.study_name)),
    }
    ledger.record_result(storage, opening, result)
    return result


Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def _metadata(facts: dict[str, Any]) -> str:
    """Return the facts as JSON, with null for NaN and infinity."""
    return json.dumps(finite(facts), allow_nan=False)


def _write_onnx(model: SelfContained, facts: dict[str, Any], path: Path) -> Run:
    import onnx

    program = torch.onnx.export(
        model,
        (_example(model),),
        dynamo=True,
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes={"images": {0: torch.export.Dim("n")}},
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    proto.producer_name, proto.producer_version = "bloodsearch", __version__
    onnx.helper.set_model_props(proto, {METADATA_KEY: _metadata(facts)})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    return load_classifier(path).probabilities


def _write_torch(model: SelfContained, facts: dict[str, Any], path: Path) -> Run:
    program = torch.export.export(
        model, (_example(model),), dynamic_shapes={"images": {0: torch.export.Dim("n")}}
    )
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={METADATA_KEY: _metadata(facts)})
    loaded = torch.export.load(path).module()

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            answers: NDArray[np.float32] = loaded(torch.from_numpy(images)).numpy()
        return answers

    return run


_WRITERS: dict[Format, Callable[[SelfContained, dict[str, Any], Path], Run]] = {
    "onnx": _write_onnx,
    "torch": _write_torch,
}


def _example(model: SelfContained) -> torch.Tensor:
    shape = model.shape
    # an example of one image would fix the size of a batch at one
    return torch.zeros((3, shape.size, shape.size, shape.channels), dtype=torch.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' logs, warnings and prints."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
