"""The pruner, case by case: peers are rows of (family, state, values by epoch)."""

from __future__ import annotations

import math
import re

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from bloodsearch.search.pruning.pruner import FamilyPruner
from bloodsearch.studies.sections import Pruner

C, P, F = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
Peer = tuple[str, TrialState, list[float]]
optuna.logging.set_verbosity(optuna.logging.WARNING)

SETTINGS = Pruner(warmup_epochs=2, min_peers=3, quantile=0.5)
THREE: list[Peer] = [
    ("cnn", C, [0.5, 0.6, 0.7, 0.8]),
    ("cnn", C, [0.5, 0.6, 0.7, 0.8]),
    ("cnn", C, [0.5, 0.6, 0.7, 0.8]),
]


def by_epoch(values: list[float]) -> dict[int, float]:
    return {epoch: value for epoch, value in enumerate(values, start=1) if not math.isnan(value)}


def study_of(peers: list[Peer]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    for family, state, values in peers:
        trial = create_trial(
            state=state,
            value=max(by_epoch(values).values()) if state == C else None,
            intermediate_values=by_epoch(values),
            user_attrs={"family": family},
        )
        study.add_trial(trial)
    return study


def running(values: list[float], family: str = "cnn") -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING,
        intermediate_values=by_epoch(values),
        user_attrs={"family": family},
    )


def reason(
    peers: list[Peer], values: list[float], settings: Pruner = SETTINGS, family: str = "cnn"
) -> str | None:
    study, trial, pruner = study_of(peers), running(values, family), FamilyPruner(settings)
    reason = pruner.reason(study, trial)
    assert pruner.prune(study, trial) == (reason is not None)  # Optuna's interface says the same
    return reason


GAP = math.nan
LOW = [0.1, 0.1]
# name: (peers, the trial's own values, pruned?)
CASES: dict[str, tuple[list[Peer], list[float], bool]] = {
    "below its peers": (THREE, LOW, True),
    "nothing reported yet": (THREE, [], False),
    "before the warm-up ends": (THREE, [0.1], False),
    "equal to its peers": (THREE, [0.5, 0.6], False),
    "above its peers": (THREE, [0.5, 0.61], False),
    "just below": (THREE, [0.5, 0.5999], True),
    "ahead of its time: judged at its own epoch, not at theirs": (THREE, [0.5, 0.65], False),
    "best so far counts, not the last epoch": (THREE, [0.65, 0.1], False),
    "the peers' best so far counts too": (
        [("cnn", C, [0.9, 0.1, 0.1])] * 3,
        [0.5, 0.8],
        True,
    ),
    "later epochs of the peers do not count": (
        [("cnn", C, [0.1, 0.2, 0.9])] * 3,
        [0.2, 0.2],
        False,
    ),
    "no peers": ([], LOW, False),
    "too few peers": (THREE[:2], LOW, False),
    "another family's trials are no peers": (
        [*THREE[:2], ("mlp", C, [0.9, 0.9]), ("mlp", C, [0.9, 0.9])],
        LOW,
        False,
    ),
    "another family does not move the bar": (
        [*[("cnn", C, [0.1, 0.1])] * 3, *[("mlp", C, [0.9, 0.9])] * 9],
        [0.1, 0.1],
        False,
    ),
    "a peer that patience ended early is carried forward": (
        [*THREE[:2], ("cnn", C, [0.95])],
        [0.1, 0.1, 0.1],
        True,
    ),
    "all peers ended early": ([("cnn", C, [0.95])] * 3, [0.1, 0.1, 0.94], True),
    "pruned peers count as far as they came": (
        [*THREE[:2], ("cnn", P, [0.5, 0.6])],
        LOW,
        True,
    ),
    "pruned peers beyond their last epoch do not count": (
        [*THREE[:2], ("cnn", P, [0.5, 0.6])],
        [0.1, 0.1, 0.1],
        False,
    ),
    "failed trials are no peers": ([*THREE[:2], ("cnn", F, [0.9, 0.9])], LOW, False),
    "peers that reported nothing are no peers": ([*THREE[:2], ("cnn", P, [])], LOW, False),
    "a peer whose reports begin later is none yet": (
        [*THREE[:2], ("cnn", C, [GAP, GAP, 0.9])],
        LOW,
        False,
    ),
    "a missing report does not hide a peer": (
        [*THREE[:2], ("cnn", C, [0.9, GAP, 0.9])],
        LOW,
        True,
    ),
    "the median of three": (
        [("cnn", C, [0.2, 0.2]), ("cnn", C, [0.4, 0.4]), ("cnn", C, [0.9, 0.9])],
        [0.3, 0.3],
        True,
    ),
    "above the median of three, below the best": (
        [("cnn", C, [0.2, 0.2]), ("cnn", C, [0.4, 0.4]), ("cnn", C, [0.9, 0.9])],
        [0.5, 0.5],
        False,
    ),
    "the median of four lies between the middle two": (
        [("cnn", C, [value] * 2) for value in (0.2, 0.4, 0.6, 0.8)],
        [0.45, 0.45],
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_pruned_or_not(case: str) -> None:
    peers, values, pruned = CASES[case]
    assert (reason(peers, values) is not None) == pruned


def test_the_quantile_moves_the_bar() -> None:
    peers: list[Peer] = [("cnn", C, [value] * 2) for value in (0.1, 0.2, 0.3, 0.4, 0.5)]
    for quantile, bar in ((0.25, 0.2), (0.5, 0.3), (0.75, 0.4)):
        settings = SETTINGS.model_copy(update={"quantile": quantile})
        assert reason(peers, [bar - 0.01] * 2, settings)
        assert not reason(peers, [bar + 0.01] * 2, settings)


def test_an_mlp_may_have_a_warm_up_of_its_own() -> None:
    settings = SETTINGS.model_copy(update={"warmup_epochs": {"cnn": 2, "mlp": 3}})
    mlps: list[Peer] = [("mlp", state, values) for _, state, values in THREE]
    assert reason(THREE, LOW, settings)
    assert not reason(mlps, LOW, settings, family="mlp")
    assert reason(mlps, [*LOW, 0.1], settings, family="mlp")


def test_a_pruner_that_is_none_prunes_nothing() -> None:
    assert reason(THREE, LOW, Pruner(name="none", warmup_epochs=1, min_peers=1)) is None


def test_the_reason_tells_the_numbers() -> None:
    text = reason(THREE, [0.1234, 0.1])
    assert text == "best 0.1234 by epoch 2; below 0.6000, the 50% quantile of 3 cnn trials"


def test_the_trial_itself_and_running_trials_are_no_peers() -> None:
    study = study_of(THREE[:2])
    trial = study.ask()
    trial.set_user_attr("family", "cnn")
    for epoch in (1, 2):
        trial.report(0.1, epoch)
    frozen = study.trials[-1]
    assert FamilyPruner(SETTINGS).reason(study, frozen) is None
    study.tell(trial, 0.1)  # now it is one: it would be its own bar otherwise
    assert FamilyPruner(SETTINGS).reason(study, running(LOW))


def test_peers_that_finish_later_are_seen() -> None:
    study, pruner = study_of(THREE[:2]), FamilyPruner(SETTINGS)
    assert pruner.reason(study, running(LOW)) is None
    study.add_trial(study_of(THREE[:1]).trials[0])
    assert pruner.reason(study, running(LOW)) is not None


def test_earlier_peers_are_carried_forward_to_the_length_of_a_later_one() -> None:
    study, pruner = study_of([("cnn", C, [0.2]), ("cnn", P, [0.2])]), FamilyPruner(SETTINGS)
    pruner.reason(study, running(LOW))
    study.add_trials(study_of([("cnn", C, [0.2] * 4), ("cnn", C, [0.2] * 3)]).trials)
    for epoch in (2, 3, 4, 5):
        text = pruner.reason(study, running([0.1] * epoch))
        assert text is not None
        assert "quantile of 3 cnn trials" in text  # the pruned one came as far as epoch 1


VALUES = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]) | st.floats(0, 1)
PEERS = st.lists(
    st.tuples(
        st.sampled_from(["cnn", "cnn", "mlp"]),
        st.sampled_from([C, P, F]),
        st.lists(VALUES, max_size=6),
    ).filter(lambda peer: peer[1] != C or peer[2]),
    max_size=10,
)


def bar_of(peers: list[Peer], epoch: int, settings: Pruner) -> float | None:
    """The bar by its definition: what a trial of family cnn must reach in `epoch`."""
    reached = [
        max(values[:epoch])
        for family, state, values in peers
        if family == "cnn"
        and ((state == C and values) or (state == P and len(values) >= max(epoch, 1)))
    ]
    if len(reached) < settings.min_peers:
        return None
    return float(np.quantile(reached, settings.quantile))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    st.lists(PEERS, min_size=1, max_size=3),
    st.lists(VALUES, min_size=1, max_size=8),
    st.integers(1, 4),
    st.sampled_from([0.25, 0.5, 0.9]),
)
def test_decisions_are_those_of_the_definition(
    batches: list[list[Peer]], values: list[float], min_peers: int, quantile: float
) -> None:
    """One pruner over a study that grows, as a worker's does."""
    settings = Pruner(warmup_epochs=1, min_peers=min_peers, quantile=quantile)
    study, pruner, peers = study_of([]), FamilyPruner(settings), list[Peer]()
    for batch in batches:
        peers += batch
        study.add_trials(study_of(batch).trials)
        for epoch in range(1, len(values) + 1):
            bar = bar_of(peers, epoch, settings)
            own = max(values[:epoch])
            if bar is not None and abs(own - bar) < 1e-12:
                continue  # a tie by rounding
            reason = pruner.reason(study, running(values[:epoch]))
            assert (reason is not None) == (bar is not None and own < bar)


FORECAST = Pruner(name="forecast", warmup_epochs=1, min_peers=4, chance=0.05, top=0.1)
# those that are higher after two epochs end higher
STEADY: list[Peer] = [
    ("cnn", C, [0.5, 0.60, 0.80]),
    ("cnn", C, [0.5, 0.70, 0.85]),
    ("cnn", C, [0.5, 0.80, 0.90]),
    ("cnn", C, [0.5, 0.90, 0.95]),
    ("cnn", C, [0.5, 0.91, 0.955]),
    ("cnn", C, [0.5, 0.92, 0.96]),
]
# name: (peers, the trial's own values, its family, pruned?)
FORECASTS: dict[str, tuple[list[Peer], list[float], str, bool]] = {
    "far behind": (STEADY, [0.5, 0.5], "cnn", True),
    "at the best ones' height": (STEADY, [0.5, 0.92], "cnn", False),
    "the order at this epoch tells nothing": (STEADY, [0.5], "cnn", False),
    "already there": ([*STEADY, ("cnn", C, [0.1, 0.1, 0.1])], [0.97, 0.1], "cnn", False),
    "already there, although its peers came no further": (
        [*[("cnn", C, [0.5, value, 0.95]) for value in (0.6, 0.7, 0.8, 0.9)], ("mlp", C, [0.99])],
        [0.5, 0.991],
        "cnn",
        False,
    ),
    "too few peers": (STEADY[:3], [0.5, 0.5], "cnn", False),
    "pruned trials do not tell how it goes on": (
        [*STEADY[:3], *[("cnn", P, [0.5, 0.6])] * 9],
        [0.5, 0.5],
        "cnn",
        False,
    ),
    "another family does not tell either": (STEADY, [0.5, 0.5], "mlp", False),
    "the best of another family are the bar": (
        [*[("cnn", C, [0.95, 0.96, 0.97])] * 3, *[("mlp", *peer[1:]) for peer in STEADY[:4]]],
        [0.5, 0.75],
        "mlp",
        True,
    ),
    "a longer training is no example": (
        [*STEADY[:3], *[("cnn", C, [0.4, 0.5, 0.55, 0.6])] * 9],
        [0.5, 0.5],
        "cnn",
        False,
    ),
    "peers that scatter allow no forecast": (
        [
            ("cnn", C, [0.5, value, final])
            for value, final in ((0.6, 0.95), (0.7, 0.7), (0.8, 0.8), (0.6, 0.93), (0.7, 0.97))
        ],
        [0.5, 0.65],
        "cnn",
        False,
    ),
}


@pytest.mark.parametrize("case", FORECASTS)
def test_forecast(case: str) -> None:
    peers, values, family, pruned = FORECASTS[case]
    pruner = FamilyPruner(FORECAST, epochs_of=lambda family: 3)
    assert (pruner.reason(study_of(peers), running(values, family)) is not None) == pruned


def test_the_forecasts_reason_tells_the_numbers() -> None:
    pruner = FamilyPruner(FORECAST.model_copy(update={"top": 0.5}))
    text = pruner.reason(study_of([*STEADY, ("mlp", P, [0.2])]), running([0.5, 0.5]))
    assert text is not None
    assert re.fullmatch(
        r"best 0\.5000 by epoch 2; \d\.\d% chance of reaching 0\.9000 \(rank 4 of 7\), "
        r"judged from 6 cnn trials",
        text,
    )


def test_a_larger_share_of_the_best_lowers_the_bar() -> None:
    study, trial = study_of(STEADY[::-1]), running([0.5, 0.66])
    stopped = [
        top
        for top in (0.1, 0.5, 1.0)
        if FamilyPruner(FORECAST.model_copy(update={"top": top})).reason(study, trial)
    ]
    assert stopped == [0.1, 0.5]


def with_losses(peers: list[Peer], losses: list[float]) -> optuna.Study:
    """The peers, each with the same training loss in its epochs and half of it on validation."""
    study = study_of([])
    for (family, state, values), loss in zip(peers, losses, strict=True):
        attrs = {"family": family, "train_losses": [loss] * 3, "val_losses": [loss / 2] * 3}
        study.add_trial(
            create_trial(
                state=state,
                value=max(values),
                intermediate_values=by_epoch(values),
                user_attrs=attrs,
            )
        )
    return study


def test_losses_tell_where_values_do_not() -> None:
    same_so_far: list[Peer] = [("cnn", C, [0.5, 0.6, end]) for end in (0.7, 0.8, 0.88, 0.92, 0.95)]
    study = with_losses(same_so_far, [1.2, 0.8, 0.5, 0.3, 0.2])
    pruner = FamilyPruner(FORECAST)

    def pruned(loss: float) -> bool:
        reason = pruner.reason_for(study, "cnn", by_epoch([0.5, 0.6]), (loss, loss / 2))
        return reason is not None

    assert pruned(1.5)
    assert not pruned(0.2)
    assert not pruned(math.inf)  # nothing can be said; it is about to diverge or not
    assert pruner.reason_for(study, "cnn", by_epoch([0.5, 0.6])) is None


def test_optunas_interface_finds_the_losses_in_the_trial() -> None:
    same_so_far: list[Peer] = [("cnn", C, [0.5, 0.6, end]) for end in (0.7, 0.8, 0.88, 0.92, 0.95)]
    study, pruner = with_losses(same_so_far, [1.2, 0.8, 0.5, 0.3, 0.2]), FamilyPruner(FORECAST)
    trial = create_trial(
        state=TrialState.RUNNING,
        intermediate_values=by_epoch([0.5, 0.6]),
        user_attrs={"family": "cnn", "train_losses": [9.0, 1.5], "val_losses": [9.0, 0.75]},
    )
    assert pruner.prune(study, trial)
    trial.set_user_attr("train_losses", [9.0, 0.2])
    trial.set_user_attr("val_losses", [9.0, 0.1])
    assert not pruner.prune(study, trial)


def test_peers_without_losses_are_no_examples_for_a_trial_that_has_them() -> None:
    study, pruner = study_of(STEADY), FamilyPruner(FORECAST)
    assert pruner.reason_for(study, "cnn", by_epoch([0.5, 0.5])) is not None
    assert pruner.reason_for(study, "cnn", by_epoch([0.5, 0.5]), (1.0, 1.0)) is None
