"""Passes that leave out images of low loss, by chance: who is left out, how often, and with what weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bloodsearch.models import CNNConfig, MLPConfig
from bloodsearch.search.training.config import LossConfig, OptimizerConfig, TrialConfig
from bloodsearch.search.training.device import DeviceData
from bloodsearch.search.training.draw import WHOLE_FROM, LossDraws, Pass
from bloodsearch.search.training.loop import Training

N = 4000
CPU = torch.device("cpu")


def draws(losses: torch.Tensor, skip: float = 0.75) -> LossDraws:
    made = LossDraws(len(losses), skip, CPU)
    made.saw(torch.arange(len(losses)), losses)
    return made


def draw(made: LossDraws, progress: float = 0.5, batch_size: int = 8, seed: int = 0) -> Pass:
    return made.draw(progress, batch_size, torch.Generator().manual_seed(seed))


def shares(losses: list[float], skip: float) -> list[float]:
    """How often an image of each loss is drawn; each loss has as many images."""
    each = N // len(losses)
    order = draw(draws(torch.tensor(losses).repeat_interleave(each), skip)).order
    return [
        ((order >= i * each) & (order < (i + 1) * each)).float().sum().item() / each
        for i in range(len(losses))
    ]


def test_the_chance_grows_with_the_loss_above_the_least() -> None:
    # above the least: 0, 0.4, 0.8, 2.8; the mean is 1
    assert shares([1.0, 1.4, 1.8, 3.8], 0.75) == pytest.approx([0.25, 0.3, 0.6, 1.0], abs=0.05)
    assert shares([1.0, 1.4, 1.8, 3.8], 0.25) == pytest.approx([0.75, 0.75, 0.75, 1.0], abs=0.05)


def test_weights_keep_the_mean_of_all_losses() -> None:
    losses = torch.rand(N, generator=torch.Generator().manual_seed(1)) ** 8
    made = draws(losses)
    totals = []
    for seed in range(20):
        drawn = draw(made, seed=seed)
        assert drawn.weights is not None
        assert len(drawn.order) < 0.6 * N
        totals.append(float((drawn.weights * losses[drawn.order]).sum()))
    assert sum(totals) / 20 == pytest.approx(float(losses.sum()), rel=0.01)


def test_at_the_end_and_before_all_were_seen_no_image_is_left_out() -> None:
    made = draws(torch.rand(N))
    for shown in (draw(LossDraws(N, 0.75, CPU)), draw(made, progress=WHOLE_FROM)):
        assert shown.weights is not None
        assert torch.equal(shown.order.sort().values, torch.arange(N))
        assert (shown.weights == 1).all()
    made.losses[17] = torch.inf  # not shown so far
    assert all(17 in draw(made, seed=seed, batch_size=1).order for seed in range(20))


@pytest.mark.parametrize("value", [0.0, 0.3, torch.nan])
def test_equal_losses_leave_out_no_image(value: float) -> None:
    assert len(draw(draws(torch.full((40,), value)), batch_size=1).order) == 40


def test_a_pass_is_of_whole_batches_or_of_all_images() -> None:
    one_hard = torch.zeros(100)
    one_hard[3] = 1.0
    assert len(draw(draws(one_hard, 0.9), batch_size=4).order) % 4 == 0
    # too few are drawn for a batch of 90
    assert len(draw(draws(one_hard, 0.95), batch_size=90).order) == 90
    assert len(draw(draws(one_hard, 0.95), batch_size=128).order) == 100


def trained(data: DeviceData, model: Any, n_epochs: int, **changes: Any) -> Training:
    config = TrialConfig(
        model=model,
        optimizer=OptimizerConfig(name="adam", lr=3e-3),
        loss=LossConfig(name="cross_entropy"),
        batch_size=32,
        epochs=n_epochs,
        skip_easy=0.75,
        **changes,
    )
    return Training(config, data, 0, None, "float32")


@pytest.mark.parametrize(
    "model", [MLPConfig(widths=(32,)), CNNConfig(widths=(8,), norm=True)], ids=["mlp", "cnn"]
)
def test_an_epoch_shows_as_many_images_as_ever_and_the_hard_ones_more_often(
    small: DeviceData, model: Any
) -> None:
    training = trained(small, model, 8, augment="dihedral", shift=1)
    n = len(small.train_images)
    shown: list[list[torch.Tensor]] = []
    batches = training.batches

    def seen(epoch: int) -> Any:
        shown.append([])
        for batch in batches(epoch):
            assert torch.equal(batch.labels, small.train_labels[batch.rows])
            shown[-1].append(batch.rows)
            yield batch

    training.batches = seen  # type: ignore[method-assign]
    training.train(lambda result: None, lambda: False, None)
    for rows in shown:
        assert [len(batch) for batch in rows[:-1]] == [32] * (len(rows) - 1)
        assert sum(map(len, rows)) == training.n_images
    for epoch in (0, 7):  # the first, and one in the last eighth
        assert torch.cat(shown[epoch]).unique().numel() == training.n_images
    counts = torch.bincount(torch.cat([torch.cat(rows) for rows in shown[4:7]]), minlength=n)
    assert counts.max() > 3
    assert training.draws is not None
    hard = training.draws.losses.argsort()[-n // 10 :]
    assert counts[hard].float().mean() > 1.2 * counts.float().mean()
