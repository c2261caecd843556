"""What a final evaluation leaves in its folder.

result.json, config.json   the figures, and what was trained
replicate-N.pt             the replicates' weights
predictions.npz            their probabilities on validation and test, for other figures
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from ..errors import UsageError
from ..files import atomic_write, finite, reserved, write_json
from ..records import trial_record


def check_writable(out: Path) -> None:
    """Raise UsageError unless a result can be written to `out`: it must not cost an opening and be lost."""
    with room_for_results(out):
        pass


@contextmanager
def room_for_results(out: Path) -> Iterator[None]:
    """Reserve room for result.json in `out` until the block ends. Raises UsageError."""
    with ExitStack() as stack:
        try:
            stack.enter_context(reserved(out))
        except OSError as error:
            raise UsageError(
                f"cannot write to {out} ({error.strerror}); choose another --out"
            ) from None
        yield


def keep_weights(
    stack: ExitStack, out: Path, trained: list[FrozenTrial], evaluation: str | None
) -> None:
    """Write the replicates' weights; they get their names when `stack` is closed without an error.

    Each file holds the identifier of the evaluation. Raises UsageError when they cannot be kept.
    """
    from ..training import checkpoint  # imports torch

    try:
        for i, trial in enumerate(trained):
            record = trial_record(trial)
            part = stack.enter_context(atomic_write(out / f"replicate-{i}.pt", durable=True))
            payload = checkpoint.load(Path(record.weights or ""))
            checkpoint.save(part, payload | {"evaluation": evaluation or "", "seed": record.seed})
    except OSError as error:
        raise UsageError(
            f"cannot keep the weights in {out} ({error.strerror or error}); nothing was opened; "
            "choose another --out"
        ) from None


def remove_other_weights(out: Path, n: int) -> None:
    """Remove the weights of an earlier evaluation with more replicates."""
    names = {f"replicate-{i}.pt" for i in range(n)}
    for old in out.glob("replicate-*.pt"):
        if old.name not in names:
            old.unlink(missing_ok=True)


def write_result(out: Path, result: dict[str, Any]) -> None:
    """Write result.json and config.json. Raises UsageError."""
    try:
        write_json(out / "config.json", finite(result["config"]))
        write_json(out / "result.json", finite(result))
    except OSError as error:
        raise UsageError(
            f"cannot write the result to {out} ({error.strerror}), but the database holds it; the same "
            "command with another --out writes it there and opens nothing"
        ) from None


def keep_predictions(out: Path, **arrays: Any) -> None:
    """Write `arrays` to predictions.npz, probabilities in single precision. Raises UsageError.

    They were made at an opening that is on the record, so reading them opens nothing.
    """
    small: dict[str, Any] = {
        key: np.asarray(value, np.float32) if key.endswith("probabilities") else np.asarray(value)
        for key, value in arrays.items()
    }
    try:
        with atomic_write(out / "predictions.npz") as part:
            np.savez_compressed(part, **small)
    except OSError as error:
        raise UsageError(
            f"cannot write predictions.npz to {out} ({error.strerror}); result.json is there, and the "
            "database holds the same figures"
        ) from None


def holds(out: Path, result: dict[str, Any]) -> bool:
    """Return whether `out` holds this result."""
    stored = read_result(out)
    keys = ("evaluation", "study", "trial", "seeds", "ledger_row")
    return bool(stored) and all(stored.get(key) == result.get(key) for key in keys)


def read_result(out: Path) -> dict[str, Any]:
    """Return what result.json in `out` holds; {} if there is none, or one that cannot be read."""
    try:
        stored = json.loads((out / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}
