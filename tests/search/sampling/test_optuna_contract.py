"""Optuna's own public test suite for samplers, run on the samplers that a study file asks for.

Its suite for relative sampling calls `sample_relative` without a search space of groups, which Optuna's TPE
with `group=True` does not support either.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase
from tests_support import tiny_study

from bloodsearch.search.sampling.sampler import trial_sampler

Make = Callable[[], BaseSampler]


class TestTpe(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Make:
        # start-up trials are random: with few of them TPE itself is tested
        study_file = tiny_study(search={"sampler": "tpe", "startup_trials": 2})
        return lambda: trial_sampler(study_file, 0)


class TestRandom(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Make:
        return lambda: trial_sampler(tiny_study(search={"sampler": "random"}), 0)
