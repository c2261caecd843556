"""Keep what optuna-dashboard shows of a study current: notes, figures, pictures.

The process that owns a search does this, and `final-eval` and `report` do it again; a worker never does.
While trials run only text is written, in one short transaction. Pictures are drawn after the last trial.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from ..database.optuna_rows import read_study_attrs, replace_study_attrs, studies_table
from ..database.outage import is_outage
from ..database.storage import Storage
from ..evaluation.ledger import openings
from ..evaluation.resampling import macro_f1_interval
from ..records import TrialRecord, study_record, trial_record
from ..results import final_results
from ..study import data_of
from ..study_names import take_apart, without_part
from ..workers.leases import Leases
from . import attributes, figures
from .artifacts import artifact_folder, remove_files, store_files
from .notes import Link, StudyPage, study_note, trial_note

EVERY_S = 5.0
"""Seconds between two writes."""
N_TOP = 10
"""Best trials with a note and pictures."""
N_PRUNED, N_FAILED = 30, 10
"""Last trials of each kind with a note. optuna-dashboard reads all notes again for every page, and looks
through all of them for every trial."""


class _Ended(NamedTuple):
    record: TrialRecord
    trial: FrozenTrial


class Publisher:
    """Writes the notes of one study, when trials have finished. Its errors never reach a search."""

    def __init__(
        self,
        storage: Storage,
        study: optuna.Study,
        n_trials: int | None = None,
        on_message: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Publish `study`. `on_message` receives one line if that ends early."""
        self.storage, self.study, self.on_message = storage, study, on_message
        self.study_id = study._study_id
        self.n_trials = n_trials
        self.is_stopped = False
        self._written_at = -EVERY_S
        self._is_stale = True
        self._top: list[_Ended] = []
        self._others = {
            TrialState.PRUNED: deque[_Ended](maxlen=N_PRUNED),
            TrialState.FAIL: deque[_Ended](maxlen=N_FAILED),
        }
        self._best_so_far: list[float] = []
        self._texts: dict[tuple[int, int | None], str] = {}
        self._page: StudyPage | None = None

    def add(self, trials: Iterable[FrozenTrial]) -> None:
        """Take trials that have finished since the last call."""
        self._guarded(lambda: self._add(trials))

    def tick(self) -> None:
        """Write if something has changed and the last write is EVERY_S ago."""
        if self._is_stale and time.monotonic() - self._written_at >= EVERY_S:
            self._guarded(self._write)

    def close(self, *, pictures: bool, files: Mapping[str, bytes] | None = None) -> None:
        """Write a last time, and with `pictures` draw them. `files` become artifacts of the study."""
        if pictures or files:
            self._guarded(lambda: self._draw(pictures, files or {}))
        self._guarded(self._write)

    def _guarded(self, step: Callable[[], None]) -> None:
        if self.is_stopped:
            return
        try:
            step()
        except Exception as error:
            if is_outage(error):
                return  # the next write is a chance again
            self.is_stopped = True
            self.on_message(
                f"the dashboard's notes stay as they are ({type(error).__name__}: {error}); "
                "the trials are not affected"
            )

    def _add(self, trials: Iterable[FrozenTrial]) -> None:
        self._is_stale = True
        page = self._page or self._new_page()
        for trial in sorted(trials, key=lambda t: t.number):
            ended = _Ended(trial_record(trial), trial)
            if trial.state in self._others:
                self._others[trial.state].append(ended)
            elif trial.state is TrialState.COMPLETE and trial.value is not None:
                self._top.append(ended)
                last = self._best_so_far[-1] if self._best_so_far else trial.value
                self._best_so_far.append(max(last, trial.value))
        if page.kind == "search":
            self._top.sort(key=lambda e: (-(e.trial.value or 0.0), e.trial.number))
            del self._top[N_TOP:]

    def _new_page(self) -> StudyPage:
        """Read what does not change while workers train."""
        stored, name = study_record(self.study), self.study.study_name
        base = without_part(name)
        opened = openings(self.storage, base)
        results = final_results(row.result for row in opened)
        links = self._links()
        self._page = StudyPage(
            study_id=self.study_id,
            name=name,
            kind=stored.kind,
            data=data_of(self.study),
            dataset=stored.dataset,
            synthetic=stored.data.get("dataset") == "synthetic",
            storage=self.storage.shown,
            written_at="",
            n_trials=self.n_trials or stored.n_trials,
            openings=len(opened),
            final=results[-1] if results else None,
            base=next((link for link in links if link.name == base != name), None),
            parts=[
                link for link in links
                if (part := take_apart(link.name)) is not None and part.base == name
            ],
        )  # fmt: skip
        return self._page

    def _links(self) -> list[Link]:
        s = studies_table.c
        with self.storage.engine.connect() as db:
            rows = db.execute(sa.select(s.study_name, s.study_id).order_by(s.study_id)).all()
        return [Link(row[0], row[1]) for row in rows]

    def _write(self) -> None:
        self._written_at = time.monotonic()
        attrs = self._attrs()
        page = self._current_page(attrs)
        new = attributes.note(attrs, None, study_note(page))
        noted = self._noted()
        for rank, ended in noted:
            key = (ended.trial.number, rank)
            if key not in self._texts:
                self._texts[key] = trial_note(page, ended.record, rank)
            new |= attributes.note(attrs, ended.trial._trial_id, self._texts[key])
        for name, figure in figures.study_figures(page).items():
            new |= attributes.figure(attrs, name, figure)
        dropped = attributes.noted_trials(attrs) - {ended.trial._trial_id for _, ended in noted}
        gone = [key for trial_id in dropped for key in attributes.note_keys(attrs, trial_id)]
        self._store(new, gone)
        self._is_stale = False

    def _current_page(self, attrs: Mapping[str, Any]) -> StudyPage:
        page = self._page or self._new_page()
        counts = Leases(self.storage, self.study).counts()
        page.counts = {state.name.lower(): n for state, n in counts.items()}
        page.top = [ended.record for ended in self._top]
        page.best_so_far = self._best_so_far
        page.written_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        page.interval = page.curve = None
        if self._top and page.kind == "search":
            best = self._top[0]
            confusion = best.record.confusion
            page.interval = None if confusion is None else macro_f1_interval(confusion)
            page.curve = self._curve(attrs, best.trial._trial_id)
        return page

    def _curve(self, attrs: Mapping[str, Any], trial_id: int) -> str | None:
        for found in attributes.artifacts(attrs, trial_id):
            if found.filename == "curve.png":
                return f"/artifacts/{self.study_id}/{trial_id}/{found.id}"
        return None

    def _noted(self) -> list[tuple[int | None, _Ended]]:
        """Return the trials with a note, and the rank of those that have one."""
        is_search = self._page is None or self._page.kind == "search"
        top = [(i if is_search else None, ended) for i, ended in enumerate(self._top, start=1)]
        return top + [(None, ended) for kind in self._others.values() for ended in kind]

    def _draw(self, pictures: bool, files: Mapping[str, bytes]) -> None:
        from .pictures import trial_pictures  # imports matplotlib

        attrs = self._attrs()
        folder = artifact_folder(self.storage)
        name, data = self.study.study_name, data_of(self.study)
        new, old = store_files(folder, name, None, files, attrs)
        if pictures:
            top = {ended.trial._trial_id: ended.trial for ended in self._top[:N_TOP]}
            for trial_id, trial in top.items():
                present = attributes.artifacts(attrs, trial_id)
                if not present or not all((folder / a.id).is_file() for a in present):
                    made, stale = store_files(
                        folder, name, trial_id, trial_pictures(trial, data), attrs
                    )
                    new |= made
                    old += stale
            for trial_id in attributes.pictured_trials(attrs) - set(top):
                old += attributes.artifacts(attrs, trial_id)
        self._store(new, [artifact.key for artifact in old])
        remove_files(folder, old)

    def _attrs(self) -> dict[str, Any]:
        with self.storage.engine.connect() as db:
            return read_study_attrs(db, self.study_id)

    def _store(self, new: Mapping[str, Any], gone: list[str]) -> None:
        if not new and not gone:
            return
        try:
            with self.storage.engine.begin() as db:
                replace_study_attrs(db, self.study_id, new, gone)
        except sa.exc.IntegrityError:
            self._is_stale = True  # another process published at the same moment


def publish(
    storage: Storage,
    study: optuna.Study,
    *,
    files: Mapping[str, bytes] | None = None,
    on_message: Callable[[str], None] = lambda text: None,
) -> None:
    """Publish a study as it is now, with its pictures, and the notes of its parts."""
    prefix = f"{study.study_name}-"
    for name in optuna.get_all_study_names(storage.optuna):
        part = take_apart(name) if name.startswith(prefix) else None
        if part is not None and part.base == study.study_name:
            _publish(
                storage, optuna.load_study(study_name=name, storage=storage.optuna), {}, on_message
            )
    _publish(storage, study, files or {}, on_message)


def _publish(
    storage: Storage,
    study: optuna.Study,
    files: Mapping[str, bytes],
    on_message: Callable[[str], None],
) -> None:
    publisher = Publisher(storage, study, on_message=on_message)
    publisher.add(t for t in study.get_trials(deepcopy=False) if t.state.is_finished())
    publisher.close(pictures=True, files=files)
