"""A snapshot of a study as lines of text that fit the terminal, whatever its width and height."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from .. import text as safe
from ..watch.snapshot import Snapshot, WorkerRow
from .output import duration
from .sparkline import bar, sparkline

MAX_WIDTH = 100
NARROW = 60
"""Columns below which a line has only its main figures."""
SILENT_S = 20.0
"""Seconds without a heartbeat after which a worker's row says so. Heartbeats come every 5 s."""
N_HAPPENINGS = 4
NOUNS = {
    "search": "trials",
    "rung": "trainings",
    "finalists": "finalists",
    "replicates": "replicates",
    "refits": "refits",
}


@dataclass(frozen=True, slots=True)
class StudyView:
    """Renders a snapshot. Give it to Rich's `Live`, or print it."""

    snapshot: Snapshot
    elapsed_s: float | None = None
    """How long this command has run; None if it does not run the search."""
    last: str = ""
    """The trial that finished last, as one line."""
    in_place: bool = False
    """Whether it is drawn again and again: then rows are left out so that all fits the terminal's height."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.lines(console)

    def lines(self, console: Console) -> list[Text]:
        """Return the lines, none wider than the console."""
        width = min(console.size.width, MAX_WIDTH)
        unicode = console.encoding.startswith("utf")
        head = list(self._head(width, unicode))
        tail = list(self._tail())
        rows = self._rows(width, unicode)
        if self.in_place:
            rows, tail = _fitting(rows, tail, console.size.height - 1 - len(head))
        lines = [*head, *rows, *([Text("")] if tail else []), *tail]
        for line in lines:
            line.truncate(width, overflow="ellipsis" if unicode else "crop")
        if self.in_place:
            # Ctrl-C is shown as "^C" behind the last line, which must not wrap
            lines[-1].truncate(width - 3)
        return lines

    def _head(self, width: int, unicode: bool) -> Iterator[Text]:
        s = self.snapshot
        clock = "" if self.elapsed_s is None else duration(self.elapsed_s)
        yield _both_ends(_text(f"{s.study} on {s.data}", "bold"), clock, width)
        if not self.in_place:
            yield _text(f"in {s.storage}", "dim")
        noun = NOUNS[s.kind]
        of = "" if s.n_trials is None else f" of {s.n_trials}"
        done = _text(f"{s.finished}{of} {noun}", "bold")
        counts = _counts(s)
        if not self.in_place and (s.running or s.waiting):
            counts.append(f"; {s.running} running, {s.waiting} waiting")
        left = _left_text(s, self.in_place)
        if width < NARROW:
            yield _both_ends(done, left, width)
            yield counts
        else:
            yield _both_ends(Text.assemble(done, (" finished: ", "bold"), counts), left, width)
        if s.n_trials:
            yield Text(bar(s.finished / s.n_trials, width, unicode=unicode), style="green")
        yield from _best_lines(s, width)
        if s.silent_s is not None:
            yield _text(f"the database has not answered for {s.silent_s:.0f} s", "bold red")

    def _rows(self, width: int, unicode: bool) -> list[Text]:
        """Return a heading and one line per worker, no line without workers."""
        s = self.snapshot
        if not s.workers:
            return []
        columns = _columns(s, width, rated=self.in_place)
        heading = [column.name for column in columns]
        cells = [[column.cell(row) for column in columns] for row in s.workers]
        widths = [max(map(len, column)) for column in zip(heading, *cells, strict=True)]
        room = width - sum(widths) - 2 * len(columns)
        longest = max(6, *(len(row.curve) for row in s.workers))
        n_curve = min(longest, room)
        values = [value for row in s.workers for value in row.curve]
        top = max([*values, s.best.value if s.best else 0.0])
        lines = [_line(heading, columns, widths, "dim")]
        if n_curve >= 5:
            lines[0].append("  curve", style="dim")
        for row, texts in zip(s.workers, cells, strict=True):
            line = _line(texts, columns, widths, "")
            if n_curve >= 5:
                line.append("  ")
                line.append(sparkline(row.curve[-n_curve:], top, unicode=unicode), style="cyan")
            if row.beat_age_s > SILENT_S:
                line.stylize("yellow")
            lines.append(line)
        return [Text(""), *lines]

    def _tail(self) -> Iterator[Text]:
        for happening in self.snapshot.happenings[-N_HAPPENINGS:]:
            yield Text.assemble((f"{happening.at:%H:%M:%S} ", "dim"), _text(happening.text))
        if self.last:
            yield _text(self.last, "dim")
        if self.in_place and self.elapsed_s is None:
            yield Text("Ctrl-C ends this view, not the search", style="dim")


def _counts(s: Snapshot) -> Text:
    text = Text(f"{s.complete} complete")
    if s.kind == "search":
        text.append(f", {s.pruned} pruned")
    elif s.pruned:
        text.append(f", {s.pruned} diverged")
    text.append(f", {s.failed} failed", style="red" if s.failed else "")
    return text


def _left_text(s: Snapshot, in_place: bool) -> str:
    if s.left == 0:
        return "done"
    if s.seconds_left is not None:
        return f"about {_rough(s.seconds_left)} left"
    if s.workers:
        return ""
    return "waiting for workers" if in_place else "no worker"


def _best_lines(s: Snapshot, width: int) -> Iterator[Text]:
    if s.best is not None:
        best = s.best
        ago = "" if best.finished is None else f"  {_ago(s.at - best.finished)} ago"
        text = Text.assemble("best ", (f"{best.value:.4f}", "bold green"))
        interval = "" if best.interval is None else "95 % {:.4f} .. {:.4f}".format(*best.interval)
        if interval and width >= NARROW:
            text.append(f" ({interval})")
        text.append_text(_text(f"  trial {best.trial} {best.family}{ago}"))
        yield text
        if interval and width < NARROW:
            yield Text(f"  {interval}")
    elif s.mean is not None:
        yield Text.assemble("mean so far ", (f"{s.mean:.4f}", "bold"), f" (n = {s.complete})")


def _rough(seconds: float) -> str:
    """Return an estimated time: "40 s", "32 min" or "2 h 10 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _ago(since: datetime.timedelta) -> str:
    seconds = max(0, round(since.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    number: bool
    cell: Callable[[WorkerRow], str]


def _columns(s: Snapshot, width: int, *, rated: bool) -> list[_Column]:
    hosts = {row.host for row in s.workers}
    elsewhere = hosts != {socket.gethostname()}
    narrow = width < NARROW

    def place(row: WorkerRow) -> str:
        text = f"{row.host} {row.device}" if elsewhere else row.device
        return _cut(text if narrow else f"{text} {row.pid}", 10 if narrow else 28)

    def trial(row: WorkerRow) -> str:
        number = row.trial if row.of_trial is None else row.of_trial
        return "-" if number is None else str(number)

    def epoch(row: WorkerRow) -> str:
        return f"{row.epoch}/{row.epochs}" if row.epochs else "-"

    def value(row: WorkerRow) -> str:
        return f"{row.curve[-1]:.4f}" if row.curve else "-"

    def rate(row: WorkerRow) -> str:
        if row.beat_age_s > SILENT_S:
            return f"silent {row.beat_age_s:.0f} s"
        return "-" if row.images_per_s is None else f"{row.images_per_s:,.0f}"

    def beat(row: WorkerRow) -> str:
        return f"{row.beat_age_s:.0f} s ago"

    columns = [_Column("worker", False, place), _Column("trial", True, trial)]
    if not narrow:
        columns.append(
            _Column("family", False, lambda row: _cut(row.name or row.family, 12) or "-")
        )
    columns += [_Column("epoch", True, epoch), _Column("F1" if narrow else "macro-F1", True, value)]
    if not narrow:
        columns.append(
            _Column("images/s", True, rate) if rated else _Column("heartbeat", True, beat)
        )
    return columns


def _line(
    texts: Sequence[str], columns: Sequence[_Column], widths: Sequence[int], style: str
) -> Text:
    cells = [
        text.rjust(width) if column.number else text.ljust(width)
        for text, column, width in zip(texts, columns, widths, strict=True)
    ]
    return Text("  ".join(cells), style=style)


def _fitting(rows: list[Text], tail: list[Text], height: int) -> tuple[list[Text], list[Text]]:
    """Return what fits into `height` lines: workers first, then the newest of `tail`."""
    height = max(1, height)
    if len(rows) > height and rows:
        rows = rows[1:]  # the blank line
    if len(rows) > height:
        n_more = len(rows) - height + 1
        rows = [*rows[: height - 1], _text(f"... and {n_more} more", "dim")]
    room = height - len(rows) - 1
    return rows, tail[-room:] if room > 0 else []


def _both_ends(left: Text, right: str, width: int) -> Text:
    """Return one line with `right` at its end, or without it if both do not fit."""
    room = width - left.cell_len - len(right)
    if not right or room < 2:
        return left
    return Text.assemble(left, " " * room, right)


def _cut(text: str, length: int) -> str:
    shown = safe.one_line(text)
    return shown if len(shown) <= length else shown[: length - 1] + "~"


def _text(text: str, style: str = "") -> Text:
    return Text(safe.one_line(text), style=style)
