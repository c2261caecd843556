"""Build the pages that repeat the course reports: their tables and figures beside new measurements."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..database.storage import Storage
from ..report import class_figures
from ..report.parts import Cell, Picture, Report, Section, Table
from ..report.words import plural, times
from . import classes as course_classes
from . import figures as course_figures
from . import grid_section as course_grid
from .gather import Configuration, Course, gather_course
from .verdicts import MARGIN, claims

SYNTHETIC = (
    "SYNTHETIC DATA: drawings of cells, not blood cells. Do not compare them with the report."
)


def build_course(storage: Storage, report: str, base: str, data_root: Path | None) -> Report:
    """Build the page of report_a or report_b from the studies `BASE-baselines` and `BASE-grid`.

    Raises StorageError if the baselines were not trained.
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
                "trained",
                f"{_replicates(course)} replicates of {len(course.configurations)} configurations",
            ),
            ("scores from", f"the {course.split} split"),
            ("test split opened", f"{times(opened)} for all configurations" if opened else "never"),
            ("studies", ", ".join(course.names)),
        ],
        banner=SYNTHETIC if course.fingerprint.dataset == "synthetic" else "",
        sections=parts,
        phone=False,
    )


def _overview(course: Course) -> Section:
    metric = course.metric_name
    rows: list[list[Cell]] = []
    for name, configuration in course.configurations.items():
        values = list(course.scores(name).values())
        printed = course.printed(name)
        mean = float(np.mean(values))
        rows.append(
            [name, len(values), mean, _sd(values), printed, None if printed is None else mean - printed,
             *_stopping(configuration)]
        )  # fmt: skip
    differences = [row[5] for row in rows if isinstance(row[5], float)]
    above = sum(difference > 0 for difference in differences)
    title = f"{above} of {len(differences)} published {metric} figures are below the mean of the replicates"
    warnings = []
    if course.split == "validation":
        warnings.append(
            "These are validation scores; the published figures are test scores, so they do not compare. "
            f"`bloodsearch final-eval {course.report} --baselines` tests all of them with one opening."
        )
    warnings += [
        f"{name}: {plural(n, 'replicate')} diverged and {'has' if n == 1 else 'have'} no score."
        for name, n in course.diverged.items()
    ]
    columns = ["configuration", "n", f"{course.split} {metric}, mean", "sd", "published"]
    columns += ["difference"]
    return Section(
        "All configurations beside the report",
        [
            "All configurations were trained with the same seeds. Each published figure comes from one "
            f"training and has no spread. {course.published['left_open']}"
        ],
        [Picture("beside", title, functools.partial(course_figures.beside_published, course, title))],
        [Table("configurations", f"Replicates ({course.split}) beside the published figures",
               [*columns, "best epoch, mean", "last epoch, mean", "seconds, mean"], rows)],
        warnings,
    )  # fmt: skip


def _claims(course: Course) -> Section:
    values = {name: course.scores(name) for name in course.configurations}
    tested = claims(course.report, values, course.best_sgd())
    if not tested:
        return Section("The claims", warnings=["No claim has all its configurations trained."])
    counts = Counter(c.verdict for c in tested)
    title = f"The verdicts on {len(tested)} claims: " + ", ".join(
        f"{verdict} {counts[verdict]}" for verdict in ("holds", "does not hold", "cannot be told")
    )
    rows: list[list[Cell]] = []
    for c in tested:
        has_interval = c.difference.known
        interval = "none from one replicate"
        if has_interval:
            interval = f"{c.difference.low:+.4f} to {c.difference.high:+.4f}"
        needed = c.difference.needed() if has_interval and c.alone == "cannot be told" else None
        rows.append(
            [c.text, c.where, c.compared, f"{c.difference.mean:+.4f}", interval, c.n,
             "" if c.published is None else f"{c.published:+.4f}", c.spoken(),
             "" if needed is None else str(needed)]
        )  # fmt: skip
    columns = ["claim", "in", "compared", "estimate", "95 % interval", "n", "published", "verdict"]
    return Section(
        "The claims",
        [
            "Each claim is tested by a difference of means over replicates with common seeds. The interval "
            "is Student's, of the paired differences. It covers the choice of seeds, not the finite split. "
            f'"Equal" means a difference of less than {MARGIN} either way, "no gain" a gain of less than '
            f"{MARGIN}. A verdict counts all claims of the table (Holm's procedure, 5 % for the whole "
            "table), so it asks for more than the 95 % interval of one claim. The last column is the number "
            "of replicates that would detect a difference as large as the estimate with 80 % probability."
        ],
        [Picture("claims", title, functools.partial(course_figures.forest, tested, title))],
        [Table("claims", "The claims, tested", [*columns, "replicates needed"], rows)],
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
            "The published figure for SGD is the best of learning rates 0.1 to 0.001, "
            "beside the rate that is best on validation here.",
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
    """Repeat one of report A's tables, with measured and published figures in each row."""
    rows: list[list[Cell]] = []
    for name in names:
        if name not in course.configurations:
            continue
        configuration = course.configurations[name]
        values = list(course.scores(name).values())
        printed = course.published["stopping"].get(name, {})
        best, last, seconds = _stopping(configuration)
        printed_seconds = printed.get("seconds")
        rows.append(
            [name, len(values), float(np.mean(values)), _sd(values), course.printed(name),
             best, last, printed.get("epoch"), seconds,
             printed_seconds and f"{printed_seconds:.1f}"]
        )  # fmt: skip
    if not rows:
        return Section(title, warnings=["None of these configurations was trained."])
    columns = ["configuration", "n", f"macro-F1, mean ({course.split})", "sd", "published"]
    columns += ["best epoch, mean", "last epoch, mean", "published stop"]
    columns += ["seconds, mean", "published seconds"]
    note = note or (
        "Seconds come from different machines, under different loads. The report does not say what its "
        "patience watched, nor whether its stopping epoch is the best or the last one. Here patience "
        "watches macro-F1 on validation."
    )
    slug = title.split(":")[0].lower().replace(" ", "-").replace(".", "-")
    table = Table(slug, "Replicates beside the published figures", columns, rows, note)
    return Section(title, course.misprints(text), tables=[table])


def _precision(course: Course) -> Section:
    """Repeat report B's Figures 3 and 5; figures it does not print are computed from its matrices."""
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
            printed = None if given is None else class_figures.averaged(given, key)
            row += [float(np.mean(values)), _sd(values), printed]
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
        f"The replicates are scored on the {course.split} split. The published figures come from the "
        "report's confusion matrices; as a number it prints only weighted F1."
    )
    return Section(
        title,
        course.misprints("scores"),
        [Picture("precision", seen, draw)],
        [Table("figures-3-and-5", "Replicates beside the published figures", columns, rows, note)],
    )


def _capacity(course: Course) -> Section:
    names = ("A-mlp-64", "A-mlp-256", "A-mlp", "A-mlp-4096", "A-mlp-1024x2")
    trained = [course.configurations[n] for n in names if n in course.configurations]
    title = "Figure 2: F1 against the MLP's size"
    if not trained:
        return Section(title, warnings=["No MLP was trained."])
    best = max(trained, key=lambda c: float(np.mean(c.validation)))
    seen = (
        f"The best of {len(trained)} MLP sizes is {best.name}: "
        f"mean macro-F1 {np.mean(best.validation):.4f} on validation"
    )
    columns = ["configuration", "weights", "n", "validation macro-F1, mean", "sd"]
    rows: list[list[Cell]] = [
        [c.name, c.trials[0].record.n_parameters, len(c.trials), float(np.mean(c.validation)),
         _sd(c.validation)] for c in trained
    ]  # fmt: skip
    if course.split == "test":
        columns += ["test macro-F1, mean", "sd"]
        for row, c in zip(rows, trained, strict=True):
            values = list(c.macro_f1.values())
            row += [float(np.mean(values)), _sd(values)]
    return Section(
        title,
        [
            "The report's figure shows validation scores without naming the sizes. The sizes here surround "
            "its winner, one hidden layer of 1024 neurons."
        ],
        [Picture("capacity", seen, functools.partial(course_figures.capacity, trained, seen))],
        [Table("capacity", "MLP sizes; the report prints no numbers", columns, rows)],
    )


def _losses(course: Course, title: str, groups: dict[str, list[str]]) -> Section:
    pictures = []
    for slug, names in groups.items():
        trained = [course.configurations[n] for n in names if n in course.configurations]
        if not trained:
            continue
        ends = [t.record.val_losses for c in trained for t in c.trials if t.record.val_losses]
        above = float(np.mean([losses[-1] - min(losses) for losses in ends])) if ends else 0.0
        seen = f"On average the validation loss ends {above:.3f} above its lowest ({len(ends)} trainings)"
        pictures.append(
            Picture(slug, seen, functools.partial(course_figures.losses, trained, seen),
                    "One line per replicate. The training loss includes dropout and class weights, if any.")
        )  # fmt: skip
    return Section(title, pictures=pictures)


def _stopping(configuration: Configuration) -> tuple[str | None, str | None, str | None]:
    """Return means over replicates with one decimal: best epoch, last epoch, training seconds."""

    def mean(values: Iterable[float | None]) -> str | None:
        stored = [value for value in values if value is not None]
        return f"{np.mean(stored):.1f}" if stored else None

    return (
        mean(t.record.best_epoch for t in configuration.trials),
        mean(t.epochs for t in configuration.trials),
        mean(t.record.train_seconds for t in configuration.trials),
    )


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _replicates(course: Course) -> str:
    counts = sorted({len(c.trials) for c in course.configurations.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
