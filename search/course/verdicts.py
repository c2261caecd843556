"""Test the course reports' claims on replicates: an estimate, an interval and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..evaluation.intervals import CONFIDENCE, Difference, Verdict, equal, larger, paired_difference

MARGIN = 0.005
"""Half a point. Two configurations that differ by less are called equal."""

Judge = Callable[[Difference], Verdict]
Values = Mapping[str, Mapping[int, float]]
"""Configuration -> seed -> score."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim in words, and the difference that the replicates show."""

    text: str
    where: str
    compared: str
    difference: Difference
    published: float | None
    alone: Verdict
    """The verdict by the 95 % interval."""
    judge: Judge
    among: int = 1
    """The claims of the same table that have an interval."""
    verdict: Verdict = "cannot be told"
    """The verdict that counts them all."""

    @property
    def n(self) -> int:
        return self.difference.n_a

    def short(self) -> str:
        """Return the verdict as the figure shows it, beside the claim."""
        if self.verdict == "cannot be told":
            return f"cannot be told at n = {self.n}"
        same = self.difference.low == self.difference.high == 0
        return f"{self.verdict}: the same on every seed" if same else self.verdict

    def spoken(self) -> str:
        """Return the verdict as the table shows it, with the one that the other claims take away."""
        if self.verdict == self.alone:
            return self.short()
        return f"{self.short()} ({self.alone} as the only claim, not as one of {self.among})"


def claims(report: str, values: Values, best_sgd: Mapping[str, str]) -> list[Claim]:
    """Test all claims of a report whose configurations have common seeds.

    The verdicts are those of Holm's procedure. `best_sgd` names, by family, the SGD configuration that is
    best on validation.
    """
    specs = _claims_a(best_sgd) if report == "report_a" else _claims_b()
    tested = [_test(values, *spec) for spec in specs]
    return holm([claim for claim in tested if claim is not None])


def holm(tested: Sequence[Claim]) -> list[Claim]:
    """Return the claims with the verdicts that they keep when all of them are counted (Holm 1979).

    Where 95 % intervals decide, a table of six claims holds an error with a probability of up to 26 %, here
    of up to 5 %. Each step asks for the confidence that Bonferroni asks of the claims still undecided.
    """
    undecided = {i for i, claim in enumerate(tested) if claim.difference.known}
    among, verdicts = len(undecided), dict[int, Verdict]()
    while undecided:
        confidence = 1 - (1 - CONFIDENCE) / len(undecided)
        new = {
            i: verdict
            for i in undecided
            if (verdict := tested[i].judge(tested[i].difference.at(confidence))) != "cannot be told"
        }
        if not new:
            break
        verdicts |= new
        undecided -= set(new)
    return [
        replace(claim, among=among, verdict=verdicts.get(i, "cannot be told"))
        for i, claim in enumerate(tested)
    ]


Spec = tuple[str, str, Sequence[str], Sequence[str], float | None, Judge]


def _claims_a(best_sgd: Mapping[str, str]) -> list[Spec]:
    specs: list[Spec] = [
        ("The CNN beats the MLP", "Table 3", ["A-cnn"], ["A-mlp"], 0.938 - 0.845, larger),
        (
            "The weighted loss helps the CNN",
            "Table 4",
            ["A-cnn"],
            ["A-cnn-ce"],
            0.938 - 0.923,
            larger,
        ),
    ]
    published = {"mlp": 0.845 - 0.72, "cnn": 0.938 - 0.87}
    for family, sgd in best_sgd.items():
        text = f"Adam beats SGD ({family.upper()})"
        specs.append((text, "section 5.4", [f"A-{family}"], [sgd], published[family], larger))
    return [
        *specs,
        ("A larger MLP is better ...", "Figure 2", ["A-mlp"], ["A-mlp-64"], None, larger),
        ("... up to a point", "Figure 2", ["A-mlp-4096"], ["A-mlp"], None, no_gain),
    ]


def _claims_b() -> list[Spec]:
    mlp, cnn = ([f"B-{family}-{i}" for i in range(1, 5)] for family in ("mlp", "cnn"))
    beats = (0.9420 + 0.9504 + 0.9487 + 0.9440 - 0.8856 - 0.8767 - 0.8857 - 0.8838) / 4
    specs: list[Spec] = [("The CNN beats the MLP", "section 4.3", cnn, mlp, beats, larger)]
    names = {"mlp": mlp, "cnn": cnn}
    nll = {
        "mlp": (0.8857 + 0.8838 - 0.8856 - 0.8767) / 2,
        "cnn": (0.9487 + 0.9440 - 0.9420 - 0.9504) / 2,
    }
    adam = {
        "mlp": (0.8767 + 0.8838 - 0.8856 - 0.8857) / 2,
        "cnn": (0.9504 + 0.9440 - 0.9420 - 0.9487) / 2,
    }
    for family, (ce_sgd, ce_adam, nll_sgd, nll_adam) in names.items():
        text = f"NLL on log-softmax equals cross-entropy ({family.upper()})"
        specs.append(
            (text, "section 4", [nll_sgd, nll_adam], [ce_sgd, ce_adam], nll[family], _same)
        )
        # report B claims that long trainings end alike, not that Adam is better
        text = f"Adam and SGD end up alike ({family.upper()})"
        specs.append(
            (text, "section 4", [ce_adam, nll_adam], [ce_sgd, nll_sgd], adam[family], _same)
        )
    return specs


def no_gain(difference: Difference) -> Verdict:
    """Judge the claim that A is not better than B by more than the margin."""
    if not difference.known:
        return "cannot be told"
    if difference.high < MARGIN:
        return "holds"
    return "does not hold" if difference.low > MARGIN else "cannot be told"


def _same(difference: Difference) -> Verdict:
    return equal(difference, MARGIN)


def _test(
    values: Values,
    text: str,
    where: str,
    a: Sequence[str],
    b: Sequence[str],
    published: float | None,
    judge: Judge,
) -> Claim | None:
    """Pair by seed: each seed gives the mean of its A configurations minus that of its B configurations."""
    if not all(name in values for name in (*a, *b)):
        return None
    seeds = set.intersection(*(set(values[name]) for name in (*a, *b)))
    if not seeds:
        return None
    differences = [
        float(np.mean([values[n][seed] for n in a]) - np.mean([values[n][seed] for n in b]))
        for seed in sorted(seeds)
    ]
    difference = paired_difference(differences)
    compared = f"{_names(a)} minus {_names(b)}"
    return Claim(text, where, compared, difference, published, judge(difference), judge)


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"mean of {', '.join(names)}"
