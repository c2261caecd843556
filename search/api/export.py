"""Write the final evaluation's model as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..data.load import check_same, load_dataset
from ..errors import UsageError
from ..model_file import export as model_file
from ..study import info
from .arguments import one_of, whole
from .events import OnProgress, ignore
from .results import ExportResult
from .study import load_study

SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}


def export(
    study: str | Path | None = None,
    *,
    storage: str | None = None,
    name: str | None = None,
    format: Literal["onnx", "torch"] = "onnx",
    out: str | Path | None = None,
    replicate: int | None = None,
    check_test: bool = False,
    data_root: str | Path | None = None,
    on_progress: OnProgress = ignore,
) -> ExportResult:
    """Write the final evaluation's model as one file: uint8 images in, probabilities out.

    Args:
        study: A shipped study's name, a study file's path, or a study's name in the storage.
        storage: The storage's URL; default $BLOODSEARCH_STORAGE, else a file in the current folder.
        name: The study's name in the storage; default: the study file's.
        format: "onnx", or "torch" for `torch.export.load`.
        out: The file; default NAME.onnx or NAME.pt2 in the current folder.
        replicate: The replicate to export; default: the best on validation.
        check_test: Open the test split once more, on the record, and compare confusion matrices; for "onnx".
        data_root: The folder with the data; default $BLOODSEARCH_DATA, else ~/.medmnist.
        on_progress: Receives a notice when the synthetic study is used because it is the only one.

    The file is compared with PyTorch on validation images before it is kept.
    """
    one_of("format", format, SUFFIX)
    replicate = whole("replicate", replicate, 0)
    if check_test and format != "onnx":
        raise UsageError("the check on the test split is of ONNX files; export with --format onnx")
    root = None if data_root is None else Path(data_root)
    stored = load_study(study, storage=storage, name=name, on_progress=on_progress)
    trained = model_file.trained_replicates(stored.storage, stored.study)
    number = trained.best() if replicate is None else replicate
    if number >= len(trained.trials):
        raise UsageError(
            f"--replicate {number}: there are {len(trained.trials)}, the first is number 0"
        )
    path = Path(stored.name + SUFFIX[format]) if out is None else Path(out)
    fingerprint = info(stored.study).fingerprint
    data = load_dataset(fingerprint, root)
    check_same(data.fingerprint, fingerprint)
    facts = model_file.provenance(stored.study, trained, number, data)
    difference = model_file.export(trained.trials[number], facts, data, format, path)
    check = None
    if check_test:
        check = model_file.check_on_test(stored.storage, stored.study, trained, data, root)
    return ExportResult(
        study=stored.name,
        trial=trained.result["trial"],
        replicate=number,
        format=format,
        out=path,
        bytes=path.stat().st_size,
        largest_difference=difference,
        n_compared=min(model_file.N_PARITY, len(data.val_images)),
        val_macro_f1=facts["val_macro_f1"],
        test_check=check,
    )
