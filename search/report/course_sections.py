"""The pages that repeat the course reports: every table and figure of theirs with ours beside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from search.report import course_classes, course_figures, health, importance, sections
from search.report.claims import MARGIN, claims
from search.report.classes import times
from search.report.course import Configuration, Course, gather_course
from search.report.parts import Cell, Picture, Report, Section, Table
from search.storage import Storage

SYNTHETIC = "SYNTHETIC DATA: drawings of cells, not blood cells. Nothing compares with the report."


def build_course(storage: Storage, report: str, base: str, data_root: Path | None) -> Report:
    """The page of report_a or report_b from the studies `BASE-baselines` and `BASE-grid`.

    Raises StorageError when the baselines were not trained.
    """
    course = gather_course(storage, report, base, data_root)
    parts = [_overview(course), _claims(course)]
    parts += _report_a(course) if report == "report_a" else _report_b(course)
    if course.grid is not None:
        shares = importance.importances(course.grid.complete)
        parts.append(sections.search(course.grid))
        parts.append(sections.space(course.grid, shares, health.checks(course.grid, shares)))
    parts.append(course_classes.data(course))
    opened = len(course.openings)
    return Report(
        title=course.published["title"],
        facts=[
            ("data", course.fingerprint.describe()),
            (
                "ours",
                f"{_replicates(course)} replicates of {len(course.configurations)} configurations",
            ),
            ("scores from", f"the {course.split} split"),
            ("test split opened", f"{times(opened)} for all configurations" if opened else "never"),
            ("studies", ", ".join(course.names)),
        ],
        banner=SYNTHETIC if course.fingerprint.dataset == "synthetic" else "",
        sections=parts,
    )


def _overview(course: Course) -> Section:
    metric = course.metric.replace("_", " ").replace("f1", "F1")
    rows: list[list[Cell]] = []
    for name, found in course.configurations.items():
        values = list(course.scores(name).values())
        printed = found.published.get(course.metric)
        mean = float(np.mean(values))
        rows.append(
            [name, len(values), mean, _sd(values), printed, None if printed is None else mean - printed,
             *_stopping(found)]
        )  # fmt: skip
    # one printed figure serves the three learning rates of SGD: the best one is compared
    best = course.best_sgd().values()
    own = [r for r in rows if r[4] is not None and ("-sgd-" not in str(r[0]) or r[0] in best)]
    above = sum(isinstance(row[5], float) and row[5] > 0 for row in own)
    title = f"{above} of {len(own)} published {metric} figures are exceeded by our mean"
    warnings = []
    if course.split == "validation":
        warnings.append(
            "Ours are validation scores, the published ones test scores: they are not comparable. "
            f"`bloodsearch final-eval {course.report} --baselines` tests all of them with one opening."
        )
    columns = ["configuration", "n", f"{metric}, mean", "sd", "published", "difference"]
    return Section(
        "All configurations beside the report",
        [
            "The same seeds were used for every configuration. Published figures come from one training "
            "each, without a spread."
            + (
                " The report prints one figure for the best of three learning rates of SGD."
                if course.report == "report_a"
                else ""
            )
        ],
        [Picture("beside", title, functools.partial(course_figures.beside_published, course, title))],
        [Table("configurations", f"Ours ({course.split}) beside the published figures",
               [*columns, "best epoch, mean", "seconds, mean"], rows)],
        warnings,
    )  # fmt: skip


def _claims(course: Course) -> Section:
    values = {name: course.scores(name) for name in course.configurations}
    found = claims(course.report, values, course.best_sgd())
    if not found:
        return Section("The claims", warnings=["No claim's configurations were all trained."])
    told = sum(c.verdict != "cannot be told" for c in found)
    title = f"{told} of {len(found)} claims can be told; {sum(c.verdict == 'holds' for c in found)} hold"
    rows: list[list[Cell]] = []
    for c in found:
        known = c.found.known
        interval = (
            f"{c.found.low:+.4f}\u00a0..\u00a0{c.found.high:+.4f}"
            if known
            else "none from one replicate"
        )
        needed = c.found.needed() if known and c.verdict == "cannot be told" else None
        rows.append(
            [c.text, c.where, c.compared, f"{c.found.mean:+.4f}", interval, c.n,
             "" if c.published is None else f"{c.published:+.4f}", c.spoken(),
             "" if needed is None else str(needed)]
        )  # fmt: skip
    columns = ["claim", "in", "compared", "estimate", "95 % interval", "n", "published", "verdict"]
    return Section(
        "The claims",
        [
            "Each is a difference of means over replicates with common seeds, with Student's interval of "
            "the paired differences. The interval holds the seeds' luck, not that of the finite split. "
            f"Equal, and no gain, mean less than {MARGIN} either way. The last column says how many "
            "replicates would tell a difference as large as the estimate with 80 % probability."
        ],
        [Picture("claims", title, functools.partial(course_figures.forest, found, title))],
        [Table("claims", "The claims, tested", [*columns, "replicates to tell"], rows)],
    )


def _report_a(course: Course) -> list[Section]:
    return [
        _table(course, "Table 3: MLP against CNN", ["A-mlp", "A-cnn"]),
        _table(course, "Table 4: weighted against plain loss", ["A-cnn-ce", "A-cnn"]),
        _capacity(course),
        _table(
            course,
            "Section 5.4: optimizers",
            [n for n in course.configurations if n in ("A-mlp", "A-cnn") or "-sgd-" in n],
            "The report prints one figure for each family's SGD, the best of learning rates 0.1 to 0.001.",
        ),
        _losses(course, "Figure 3: loss curves", {"curves": ["A-mlp", "A-cnn"]}),
        course_classes.final_model(course),
    ]


def _report_b(course: Course) -> list[Section]:
    names = {f: [f"B-{f}-{i}" for i in range(1, 5)] for f in ("mlp", "cnn")}
    return [
        _table(course, "Figures 3 and 5: precision and F1", [*names["mlp"], *names["cnn"]]),
        _losses(
            course, "Figures 1 and 2: loss curves", {f"curves-{f}": n for f, n in names.items()}
        ),
        course_classes.matrices(course),
    ]


def _table(course: Course, title: str, names: Sequence[str], note: str = "") -> Section:
    """One of the report's tables, with ours and theirs in each row."""
    rows: list[list[Cell]] = []
    for name in names:
        if name not in course.configurations:
            continue
        found = course.configurations[name]
        values = list(course.scores(name).values())
        printed = course.published.get("stopping", {}).get(name, {})
        precision = list(found.weighted_precision.values())
        theirs = found.published.get(course.metric)
        ours: list[Cell] = [name, len(values), float(np.mean(values)), _sd(values), theirs]
        if course.report == "report_a":
            epoch, seconds = _stopping(found)
            rows.append([*ours, epoch, printed.get("epoch"), seconds, printed.get("seconds")])
        else:
            counts = course.published["confusion"].get(name)
            given = counts and course_classes.weighted(np.asarray(counts), "precision")
            rows.append([*ours, float(np.mean(precision)), given])
    metric = "macro-F1" if course.report == "report_a" else "weighted F1"
    columns = ["configuration", "n", f"{metric}, mean ({course.split})", "sd", "published"]
    if course.report == "report_a":
        columns += ["best epoch, mean", "published stop", "seconds, mean", "published seconds"]
        note = (
            note
            or "Seconds are of different machines; the report's stopping epoch may count patience."
        )
    else:
        columns += ["weighted precision, mean", "from the published matrix"]
    slug = title.split(":")[0].lower().replace(" ", "-").replace(".", "-")
    if not rows:
        return Section(title, warnings=["None of its configurations was trained."])
    return Section(title, tables=[Table(slug, title, columns, rows, note)])


def _capacity(course: Course) -> Section:
    names = [n for n in ("A-mlp-64", "A-mlp-256", "A-mlp", "A-mlp-4096", "A-mlp-1024x2")
             if n in course.configurations]  # fmt: skip
    title = "Figure 2: F1 against the MLP's size"
    if not names:
        return Section(title, warnings=["No MLP was trained."])
    means = {n: float(np.mean(list(course.scores(n).values()))) for n in names}
    best = max(means, key=lambda n: means[n])
    seen = f"The best of {len(names)} MLP sizes is {best} with a mean macro-F1 of {means[best]:.4f}"
    rows = [(n, course.configurations[n].trials[0].n_parameters, len(course.scores(n)), means[n],
             _sd(list(course.scores(n).values()))) for n in names]  # fmt: skip
    return Section(
        title,
        ["The report's figure names no sizes; these stand around its winner of 1024 neurons."],
        [
            Picture(
                "capacity", seen, functools.partial(course_figures.capacity, course, names, seen)
            )
        ],
        [Table("capacity", title, ["configuration", "weights", "n", "macro-F1, mean", "sd"], rows)],
    )


def _losses(course: Course, title: str, groups: dict[str, list[str]]) -> Section:
    pictures = []
    for slug, names in groups.items():
        mine = [course.configurations[n] for n in names if n in course.configurations]
        if not mine:
            continue
        overfit = sum(
            min(t.val_losses) < t.val_losses[-1] for c in mine for t in c.trials if t.val_losses
        )
        n = sum(len(c.trials) for c in mine)
        seen = f"In {overfit} of {n} trainings the validation loss had turned up before the end"
        pictures.append(
            Picture(slug, seen, functools.partial(course_figures.losses, mine, seen),
                    "A line for each replicate. The training loss includes dropout and any class weights.")
        )  # fmt: skip
    return Section(title, pictures=pictures)


def _stopping(found: Configuration) -> tuple[str | None, str | None]:
    """Mean best epoch and mean training seconds of the replicates, to one decimal."""
    epochs = [t.best_epoch for t in found.trials if t.best_epoch is not None]
    seconds = [t.train_seconds for t in found.trials if t.train_seconds is not None]
    return (
        f"{np.mean(epochs):.1f}" if epochs else None,
        f"{np.mean(seconds):.1f}" if seconds else None,
    )


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _replicates(course: Course) -> str:
    counts = sorted({len(c.trials) for c in course.configurations.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
