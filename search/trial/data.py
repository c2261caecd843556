"""The data that a trial trains on: the splits, both together, or folds of both."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Self

import torch

from ..data.load import Dataset, joined
from ..seeds import derive_seed
from ..study import StudyInfo
from ..training.device import DeviceData, to_device
from ..training.folds import make_folds


class TrialData:
    """A study's data on a device, as each of its trials needs them."""

    def __init__(self, study_info: StudyInfo, splits: DeviceData) -> None:
        self.info, self.splits = study_info, splits
        # the trials of a search share their folds, so the last ones are often the next ones
        self._folds = functools.lru_cache(1)(self._make_folds)

    @classmethod
    def load(cls, study_info: StudyInfo, data: Dataset, device: torch.device) -> Self:
        """Copy the study's data to `device`."""
        used = joined(data) if study_info.kind == "refits" else data
        return cls(study_info, to_device(used, device))

    def of(self, seed: int) -> DeviceData | Sequence[DeviceData]:
        """Return the data of the trial with this training seed.

        All trials of a search have the same folds. Its finalists have others with each seed, so the second
        stage is a repeated cross-validation.
        """
        if not self.info.n_folds:
            return self.splits
        search_seed = self.info.study_file.search.seed
        repeat = 0 if self.info.kind == "search" else seed
        return self._folds(derive_seed(search_seed, "folds", repeat))

    def _make_folds(self, seed: int) -> Sequence[DeviceData]:
        return make_folds(self.splits, self.info.n_folds, seed)
