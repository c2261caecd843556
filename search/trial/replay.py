"""Training a stored trial again, from its seed, and comparing the curves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from ..errors import RefusedError
from ..records import trial_record
from ..study import StudyInfo, versions


@dataclass(frozen=True, slots=True)
class Replay:
    """Two curves of validation macro-F1, by epoch."""

    stored: list[float]
    again: list[float]
    differs: list[str]
    """Versions and the device that differ and may explain a difference."""

    @property
    def identical(self) -> bool:
        return self.stored == self.again

    @property
    def largest_difference(self) -> float:
        return max((abs(a - b) for a, b in zip(self.stored, self.again, strict=False)), default=0.0)


def replay_trial(
    trial: FrozenTrial,
    study_info: StudyInfo,
    *,
    data_root: Path | None,
    device: str,
    on_epoch: Callable[[int, float, float | None], None],
) -> Replay:
    """Train `trial` again for as many epochs as before, and compare the curves.

    Raises RefusedError when the trial has no configuration or no epoch, or the data differ.

    Args:
        trial: A finished trial.
        study_info: The study's description.
        data_root: The folder with the data set.
        device: The torch device.
        on_epoch: Called with the epoch, its new value and its stored value.
    """
    record = trial_record(trial)
    if record.config is None or record.seed is None:
        raise RefusedError(
            f"trial {trial.number} is {trial.state.name.lower()} and has no configuration to replay; "
            "only finished trials do"
        )
    import torch

    from ..data.load import load_dataset
    from ..training.config import TrialConfig
    from ..training.device import choose_precision, device_name, parse_device
    from ..training.fit import EpochResult, fit
    from .data import TrialData

    data = load_dataset(study_info.fingerprint, data_root)
    if data.fingerprint.content_hash != record.data_hash:
        raise RefusedError(
            f"trial {trial.number} was trained on data {record.data_hash}, found "
            f"{data.fingerprint.content_hash}; name the same file with --data-root"
        )
    torch.set_num_threads(record.threads or torch.get_num_threads())
    where = parse_device(device)
    n_epochs = len(record.reports) if record.epochs is None else record.epochs
    if not n_epochs:
        raise RefusedError(
            f"trial {trial.number} has no epoch to compare with: {record.stop_reason}"
        )
    # earlier versions reported a zero after the last epoch of a trial that could not be trained
    stored = record.curve[:n_epochs]
    again: list[float] = []

    def collect(result: EpochResult) -> None:
        again.append(result.val_macro_f1)
        then = stored[result.epoch - 1] if result.epoch <= len(stored) else None
        on_epoch(result.epoch, result.val_macro_f1, then)

    class Enough(Exception):
        pass

    def stop_with_the_trial(result: EpochResult) -> None:
        collect(result)
        if len(again) == len(stored):  # a pruned trial ended before its configuration would
            raise Enough

    with contextlib.suppress(Enough):
        fit(
            TrialConfig.model_validate(record.config),
            TrialData.load(study_info, data, where).of(record.seed),
            seed=record.seed,
            on_epoch=stop_with_the_trial,
            precision=record.precision or choose_precision(where),
            val_precision=record.val_precision,
            cuda_graph=study_info.study_file.training.cuda_graph,
        )
    now = {**versions(), "device": device_name(where)}
    then = {**(record.versions or {}), "device": record.device}
    differs = [
        f"{key} {then.get(key)} then, {now[key]} now" for key in now if then.get(key) != now[key]
    ]
    return Replay(stored, again, differs)
