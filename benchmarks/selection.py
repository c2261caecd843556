"""How the winner is best chosen among noisy candidates: simulated, with the real elimination code.

    python -m benchmarks selection

77 searched configurations have true values of standard deviation 0.003. A score has noise of 0.004: one part
from the seed, one from the validation images, which all trainings of a configuration share (`python -m
benchmarks image_noise` measures it). The best by search value are trained again by each rule. Regret is the
true value of the best candidate minus that of the winner; optimism is what the winner's printed mean is above
its true value. Nothing is trained.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bloodsearch.search.evaluation.finalists import (
    CLEAR,
    SD_FLOOR,
    Finalist,
    choose,
    pooled_sd,
    remaining,
)
from bloodsearch.search.evaluation.ladder import better_half
from bloodsearch.search.results import Race

from .common import save, table

N_SEARCHED, TRUE_SD, NOISE = 77, 0.003, 0.004
ROUNDS = 5
REPETITIONS = 2000
CANDIDATES = (8, 16, 32)
SHARES = (0.0, 0.08, 0.5)
"""Shares of the noise's variance that are the validation images' own."""


Left = Callable[[list[Finalist], set[int]], set[int]]
"""The finalists, best mean first, and the survivors so far, to those that get another seed."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The candidates of one repetition: true values, search values, and a score for each fresh seed."""

    true: NDArray[np.float64]
    searched: NDArray[np.float64]
    fresh: NDArray[np.float64]
    """(candidates, seeds), on the validation images of the search."""
    other: NDArray[np.float64]
    """The same seeds, on the half of the images that the search did not use."""
    searched_half: NDArray[np.float64]
    """Search values on the half of the images that it used."""


@dataclass(frozen=True, slots=True)
class Choice:
    winner: int
    printed: float
    """The mean that is printed for the winner."""
    n_trainings: int


def draw(
    n: int,
    share: float,
    rng: np.random.Generator,
    *,
    true_sd: float = TRUE_SD,
    noise: float = NOISE,
) -> Scene:
    """Draw a search and return its best `n`."""
    true = rng.normal(0, true_sd, N_SEARCHED)
    image_sd, seed_sd = noise * math.sqrt(share), noise * math.sqrt(1 - share)
    # half of the images has twice the variance; both halves together give the whole split's score
    first, second = rng.normal(0, image_sd * math.sqrt(2), (2, N_SEARCHED))
    images = (first + second) / 2
    seed = rng.normal(0, seed_sd, N_SEARCHED)
    searched, half = true + images + seed, true + first + seed
    best = np.argsort(-searched)[:n]
    fresh = true[best, None] + rng.normal(0, seed_sd, (n, ROUNDS))
    return Scene(
        true[best],
        searched[best],
        fresh + images[best, None],
        fresh + second[best, None],
        half[best],
    )


def _standing(scene: Scene, numbers: set[int], n_seeds: dict[int, int]) -> list[Finalist]:
    rows = [
        Finalist(i, scene.searched[i], scene.fresh[i, : n_seeds[i]].tolist(), None, None)
        for i in numbers
    ]
    return sorted(rows, key=lambda f: (-f.mean, f.trial))


def by_search_value(scene: Scene) -> Choice:
    return Choice(0, float(scene.searched[0]), 0)


def all_seeds(n_seeds: int) -> Callable[[Scene], Choice]:
    """Train every candidate with the same number of seeds."""

    def rule(scene: Scene) -> Choice:
        means = scene.fresh[:, :n_seeds].mean(axis=1)
        return Choice(int(means.argmax()), float(means.max()), n_seeds * len(means))

    return rule


def eliminate(scene: Scene) -> Choice:
    """Run the second stage as it is: clear losers leave, once the spread over seeds was measured."""
    return _eliminate(scene, remaining)


def eliminate_at_once(scene: Scene) -> Choice:
    """Run the second stage of version 0.2: losers leave after one seed already, by an assumed spread."""

    def left(finalists: list[Finalist], survivors: set[int]) -> set[int]:
        alive = [f for f in finalists if f.trial in survivors]
        sd, best = max(SD_FLOOR, pooled_sd(finalists)), alive[0]
        limits = {f.trial: CLEAR * sd * math.sqrt(1 / f.n + 1 / best.n) for f in alive}
        return {f.trial for f in alive if best.mean - f.mean <= limits[f.trial]}

    return _eliminate(scene, left)


def _eliminate(scene: Scene, left: Left) -> Choice:
    survivors, standing, n_trainings = _raced(scene, left)
    best = next(f for f in standing if f.trial in survivors)
    return Choice(best.trial, best.mean, n_trainings)


def _raced(scene: Scene, left: Left) -> tuple[set[int], list[Finalist], int]:
    """Return the survivors, all finalists by their means, and the number of trainings."""
    survivors, n_seeds = set(range(len(scene.true))), dict.fromkeys(range(len(scene.true)), 0)
    standing: list[Finalist] = []
    for _ in range(ROUNDS):
        for i in survivors:
            n_seeds[i] += 1
        standing = _standing(scene, set(n_seeds), n_seeds)
        survivors = left(standing, survivors)
        if len(survivors) == 1:
            break
    return survivors, standing, sum(n_seeds.values())


def halve(scene: Scene) -> Choice:
    """Run the ladder's last rung: the worse half leaves after each seed; the winner gets all seeds."""
    alive = list(range(len(scene.true)))
    n_seeds = dict.fromkeys(alive, 0)
    for _ in range(ROUNDS):
        for i in alive:
            n_seeds[i] += 1
        standing = _standing(scene, set(alive), n_seeds)
        alive = better_half([f.trial for f in standing])
    winner = alive[0]
    n_trainings = sum(n_seeds.values())
    return Choice(winner, float(scene.fresh[winner].mean()), n_trainings)


def shrunken(scene: Scene) -> Choice:
    """Train all with five seeds; print the winner's empirical-Bayes mean."""
    means = scene.fresh.mean(axis=1)
    within = scene.fresh.var(axis=1, ddof=1).mean() / ROUNDS
    between = max(0.0, float(means.var(ddof=1) - within))
    weight = between / (between + within) if between + within else 0.0
    winner = int(means.argmax())
    printed = float(means.mean() + weight * (means[winner] - means.mean()))
    return Choice(winner, printed, ROUNDS * len(means))


def eliminate_and_shrink(scene: Scene) -> Choice:
    """Run the second stage, and print the winner's mean less the optimism that is stated with it."""
    survivors, standing, n_trainings = _raced(scene, remaining)
    raced = choose(standing, survivors, "best")
    best = next(f for f in standing if f.trial == raced.winner)
    optimism = Race.read(raced.as_dict()).winner_optimism or 0.0
    return Choice(best.trial, best.mean - optimism, n_trainings)


def cross_fitted(scene: Scene) -> Choice:
    """Choose by five seeds on the half of the images that the search did not use."""
    means = scene.other.mean(axis=1)
    return Choice(int(means.argmax()), float(means.max()), ROUNDS * len(means))


RULES: dict[str, Callable[[Scene], Choice]] = {
    "search value alone": by_search_value,
    "all, 3 seeds": all_seeds(3),
    "all, 5 seeds": all_seeds(5),
    "second stage of 0.2": eliminate_at_once,
    "second stage": eliminate,
    "second stage, stated optimism taken off": eliminate_and_shrink,
    "ladder's last rung": halve,
    "all, 5 seeds, empirical Bayes": shrunken,
    "all, 5 seeds, other half of the images": cross_fitted,
}


def measure(
    name: str, n: int, share: float, *, true_sd: float = TRUE_SD, noise: float = NOISE
) -> dict[str, Any]:
    """Simulate one rule. Every rule sees the same scenes."""
    rng = np.random.default_rng([n, int(100 * share), int(1e5 * true_sd), int(1e5 * noise)])
    right, regrets, optimism, trainings = 0, list[float](), list[float](), list[int]()
    for _ in range(REPETITIONS):
        scene = draw(n, share, rng, true_sd=true_sd, noise=noise)
        choice = RULES[name](scene)
        right += int(scene.true.argmax()) == choice.winner
        regrets.append(float(scene.true.max() - scene.true[choice.winner]))
        optimism.append(choice.printed - float(scene.true[choice.winner]))
        trainings.append(choice.n_trainings)
    return {
        "rule": name, "candidates": n, "image_share": share, "true_sd": true_sd, "noise": noise,
        "p_best": right / REPETITIONS, "regret": statistics.fmean(regrets),
        "optimism": statistics.fmean(optimism), "trainings": statistics.fmean(trainings),
    }  # fmt: skip


def run() -> None:
    results = [
        measure(name, n, share) for share in SHARES for n in CANDIDATES for name in RULES
    ] + [
        measure(name, 8, 0.0, noise=0.0075)
        for name in ("second stage of 0.2", "second stage", "ladder's last rung", "all, 5 seeds")
    ]
    rows = [
        [r["candidates"], f"{100 * r['image_share']:.0f} %", f"{r['noise']:.4f}", r["rule"],
         f"{r['p_best']:.2f}", f"{1e4 * r['regret']:.1f}", f"{1e4 * r['optimism']:+.1f}",
         f"{r['trainings']:.1f}"]
        for r in results
    ]  # fmt: skip
    columns = ["candidates", "noise from images", "noise", "rule", "best chosen"]
    columns += ["regret, 1e-4", "optimism, 1e-4", "trainings"]
    table(
        f"choosing the winner, {REPETITIONS} repetitions (standard error of a share 0.011)",
        columns,
        rows,
    )
    save("selection", results)


if __name__ == "__main__":
    run()
