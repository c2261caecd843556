"""The pages that repeat the course reports: every table and figure of theirs with ours beside it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..database.storage import Storage
from ..report import class_figures
from ..report.parts import Cell, Picture, Report, Section, Table
from ..report.words import times
from . import classes as course_classes
from . import figures as course_figures
from . import grid_section as course_grid
from .gather import Configuration, Course, gather_course
from .verdicts import MARGIN, claims

SYNTHETIC = "SYNTHETIC DATA: drawings of cells, not blood cells. Nothing compares with the report."


def build_course(storage: Storage, report: str, base: str, data_root: Path | None) -> Report:
    """The page of report_a or report_b from the studies `BASE-baselines` and `BASE-grid`.

    Raises StorageError when the baselines were not trained.
    """
    course = gather_course(storage, report, base, data_root)
    parts = [_overview(course), _claims(course)]
    parts += _report_a(course) if report == "report_a" else _report_b(course)
    if course.grid is not None:
        parts.append(course_grid.section(course))
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
    metric = course.metric_name
    rows: list[list[Cell]] = []
    for name, found in course.configurations.items():
        values = list(course.scores(name).values())
        printed = course.printed(name)
        mean = float(np.mean(values))
        rows.append(
            [name, len(values), mean, _sd(values), printed, None if printed is None else mean - printed,
             *_stopping(found)]
        )  # fmt: skip
    differences = [row[5] for row in rows if isinstance(row[5], float)]
    above = sum(difference > 0 for difference in differences)
    title = f"{above} of {len(differences)} published {metric} figures are exceeded by our mean"
    warnings = []
    if course.split == "validation":
        warnings.append(
            "Ours are validation scores, the published ones test scores: they are not comparable. "
            f"`bloodsearch final-eval {course.report} --baselines` tests all of them with one opening."
        )
    columns = ["configuration", "n", f"{course.split} {metric}, mean", "sd", "published"]
    columns += ["difference"]
    return Section(
        "All configurations beside the report",
        [
            "The same seeds were used for every configuration. Published figures come from one training "
            f"each, without a spread. {course.published['left_open']}"
        ],
        [Picture("beside", title, functools.partial(course_figures.beside_published, course, title))],
        [Table("configurations", f"Ours ({course.split}) beside the published figures",
               [*columns, "best epoch, mean", "last epoch, mean", "seconds, mean"], rows)],
        warnings,
    )  # fmt: skip


def _claims(course: Course) -> Section:
    values = {name: course.scores(name) for name in course.configurations}
    found = claims(course.report, values, course.best_sgd())
    if not found:
        return Section("The claims", warnings=["No claim's configurations were all trained."])
    counts = Counter(c.verdict for c in found)
    title = f"The verdicts on {len(found)} claims: " + ", ".join(
        f"{verdict} {counts[verdict]}" for verdict in ("holds", "does not hold", "cannot be told")
    )
    rows: list[list[Cell]] = []
    for c in found:
        known = c.found.known
        interval = (
            f"{c.found.low:+.4f} to {c.found.high:+.4f}" if known else "none from one replicate"
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
            f"Equal means less than {MARGIN} either way, no gain less than {MARGIN} more. The last column "
            "says how many replicates would tell a difference as large as the estimate with 80 % probability."
        ],
        [Picture("claims", title, functools.partial(course_figures.forest, found, title))],
        [Table("claims", "The claims, tested", [*columns, "replicates to tell"], rows)],
    )


def _report_a(course: Course) -> list[Section]:
    return [
        _table(course, "Table 3: MLP against CNN", ["A-mlp", "A-cnn"], text="table-3"),
        _table(course, "Table 4: weighted against plain loss", ["A-cnn-ce", "A-cnn"]),
        _capacity(course),
        _table(
            course,
            "Section 5.4: optimizers",
            [n for n in course.configurations if n in ("A-mlp", "A-cnn") or "-sgd-" in n],
            "Published for SGD: the best of learning rates 0.1 to 0.001, beside our best on validation.",
        ),
        _losses(course, "Figure 3: loss curves", {"curves": ["A-mlp", "A-cnn"]}),
        course_classes.final_model(course),
    ]


def _report_b(course: Course) -> list[Section]:
    names = {f: [f"B-{f}-{i}" for i in range(1, 5)] for f in ("mlp", "cnn")}
    return [
        _precision(course),
        _losses(
            course, "Figures 1 and 2: loss curves", {f"curves-{f}": n for f, n in names.items()}
        ),
        course_classes.matrices(course),
    ]


def _table(
    course: Course, title: str, names: Sequence[str], note: str = "", text: str = ""
) -> Section:
    """One of report A's tables, with ours and theirs in each row."""
    rows: list[list[Cell]] = []
    for name in names:
        if name not in course.configurations:
            continue
        found = course.configurations[name]
        values = list(course.scores(name).values())
        printed = course.published["stopping"].get(name, {})
        best, last, seconds = _stopping(found)
        theirs = printed.get("seconds")
        rows.append(
            [name, len(values), float(np.mean(values)), _sd(values), course.printed(name),
             best, last, printed.get("epoch"), seconds, theirs and f"{theirs:.1f}"]
        )  # fmt: skip
    if not rows:
        return Section(title, warnings=["None of its configurations was trained."])
    columns = ["configuration", "n", f"macro-F1, mean ({course.split})", "sd", "published"]
    columns += ["best epoch, mean", "last epoch, mean", "published stop"]
    columns += ["seconds, mean", "published seconds"]
    note = note or (
        "Seconds are of different machines, ours with whatever else it did. The report does not say "
        "what its patience watched, nor whether its stopping epoch is the best or the last one; ours "
        "watches macro-F1 on validation."
    )
    slug = title.split(":")[0].lower().replace(" ", "-").replace(".", "-")
    table = Table(slug, "Ours beside the published figures", columns, rows, note)
    return Section(title, course.misprints(text), tables=[table])


def _precision(course: Course) -> Section:
    """Report B's Figures 3 and 5; what it does not print is computed from its matrices."""
    title = "Figures 3 and 5: precision and F1"
    rows: list[list[Cell]] = []
    gaps = [0.0]
    keys = ("weighted_precision", "weighted_f1", "macro_f1")
    for name in course.configurations:
        counts = course.published["confusion"].get(name)
        given = np.asarray(counts) if counts else None
        row: list[Cell] = [name, len(course.scores(name))]
        for key in keys:
            values = list(course.scores(name, key).values())
            theirs = None if given is None else class_figures.averaged(given, key)
            row += [float(np.mean(values)), _sd(values), theirs]
        precision, weighted = (np.mean(list(course.scores(name, k).values())) for k in keys[:2])
        gaps.append(abs(float(precision - weighted)))
        rows.append(row)
    if not rows:
        return Section(title, warnings=["Nothing was trained."])
    columns = ["configuration", "n"]
    for key in keys:
        name = key.replace("_", " ").replace("f1", "F1").replace("macro F1", "macro-F1")
        columns += [f"{name}, mean", "sd", "published"]
    seen = f"Weighted precision and weighted F1 are at most {max(gaps):.3f} apart"
    draw = functools.partial(course_figures.precision, course, seen)
    note = (
        f"Ours on the {course.split} split; published: from the report's confusion matrices. It "
        "prints weighted F1 alone as a number."
    )
    return Section(
        title,
        course.misprints("scores"),
        [Picture("precision", seen, draw)],
        [Table("figures-3-and-5", "Ours beside the published figures", columns, rows, note)],
    )


def _capacity(course: Course) -> Section:
    names = ("A-mlp-64", "A-mlp-256", "A-mlp", "A-mlp-4096", "A-mlp-1024x2")
    found = [course.configurations[n] for n in names if n in course.configurations]
    title = "Figure 2: F1 against the MLP's size"
    if not found:
        return Section(title, warnings=["No MLP was trained."])
    best = max(found, key=lambda c: float(np.mean(c.validation)))
    seen = (
        f"The best of {len(found)} MLP sizes is {best.name}: "
        f"mean macro-F1 {np.mean(best.validation):.4f} on validation"
    )
    columns = ["configuration", "weights", "n", "validation macro-F1, mean", "sd"]
    rows: list[list[Cell]] = [
        [c.name, c.trials[0].record.n_parameters, len(c.trials), float(np.mean(c.validation)),
         _sd(c.validation)] for c in found
    ]  # fmt: skip
    if course.split == "test":
        columns += ["test macro-F1, mean", "sd"]
        for row, c in zip(rows, found, strict=True):
            values = list(c.macro_f1.values())
            row += [float(np.mean(values)), _sd(values)]
    return Section(
        title,
        [
            "The report's figure shows validation scores and names no sizes; these stand around its "
            "winner, one hidden layer of 1024 neurons."
        ],
        [Picture("capacity", seen, functools.partial(course_figures.capacity, found, seen))],
        [Table("capacity", "Ours; the report prints no numbers", columns, rows)],
    )


def _losses(course: Course, title: str, groups: dict[str, list[str]]) -> Section:
    pictures = []
    for slug, names in groups.items():
        mine = [course.configurations[n] for n in names if n in course.configurations]
        if not mine:
            continue
        ends = [t.record.val_losses for c in mine for t in c.trials if t.record.val_losses]
        above = float(np.mean([losses[-1] - min(losses) for losses in ends])) if ends else 0.0
        seen = f"The validation loss ends {above:.3f} above its lowest, the mean of {len(ends)} trainings"
        pictures.append(
            Picture(slug, seen, functools.partial(course_figures.losses, mine, seen),
                    "A line for each replicate. The training loss includes dropout and any class weights.")
        )  # fmt: skip
    return Section(title, pictures=pictures)


def _stopping(found: Configuration) -> tuple[str | None, str | None, str | None]:
    """Means over replicates, to one decimal: best epoch, last epoch, training seconds."""

    def mean(values: Iterable[float | None]) -> str | None:
        known = [value for value in values if value is not None]
        return f"{np.mean(known):.1f}" if known else None

    return (
        mean(t.record.best_epoch for t in found.trials),
        mean(t.epochs for t in found.trials),
        mean(t.record.train_seconds for t in found.trials),
    )


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _replicates(course: Course) -> str:
    counts = sorted({len(c.trials) for c in course.configurations.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
