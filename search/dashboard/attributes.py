"""Notes, figures and artifacts as optuna-dashboard 0.21 stores them: system attributes of the study.

Its own functions take an import of 2.6 s and a transaction for each attribute. The functions here only make
keys and values. tests/search/dashboard/test_attributes.py reads them back with optuna-dashboard's.
A trial's note and artifacts are attributes of its study: a finished trial does not change.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

CHUNK = 2045
"""The longest value that optuna-dashboard writes and every database of its takes."""
KEPT = "*Kept current by bloodsearch. Text below this line stays.*"


class Artifact(NamedTuple):
    """A stored file: its key among the study's attributes, its id, and the name that people see."""

    key: str
    id: str
    filename: str


def note(attrs: Mapping[str, Any], trial_id: int | None, text: str) -> dict[str, Any]:
    """Return the attributes that set a note to `text`, none if it is set. A reader's text below it stays."""
    prefix = _note_prefix(trial_id)
    old = _body(attrs, f"{prefix}note_str:")
    added = old.partition(KEPT)[2] if KEPT in old else f"\n\n{old}" if old else ""
    body = f"{text}\n\n---\n{KEPT}{added}"
    if body == old:
        return {}
    version = attrs.get(f"{prefix}note_ver")
    number = version + 1 if isinstance(version, int) else 1
    return {f"{prefix}note_ver": number, **_chunks(attrs, f"{prefix}note_str:", body)}


def note_keys(attrs: Mapping[str, Any], trial_id: int) -> list[str]:
    """Return the keys of a trial's note, none if a reader has added to it."""
    prefix = _note_prefix(trial_id)
    old = _body(attrs, f"{prefix}note_str:")
    if not old.endswith(KEPT):
        return []
    return [key for key in attrs if key.startswith((f"{prefix}note_ver", f"{prefix}note_str:"))]


def noted_trials(attrs: Mapping[str, Any]) -> set[int]:
    """Return the ids of the trials that have a note."""
    parts = (key.split(":") for key in attrs if key.startswith("dashboard:"))
    return {int(p[1]) for p in parts if len(p) == 3 and p[2] == "note_ver" and p[1].isdecimal()}


def figure(attrs: Mapping[str, Any], name: str, plotly_json: str) -> dict[str, Any]:
    """Return the attributes that set the study's figure `name`, none if it is set."""
    prefix = f"dashboard:plot_data:{name}:"
    return {} if _body(attrs, prefix) == plotly_json else _chunks(attrs, prefix, plotly_json)


def artifact(
    study: str, trial_id: int | None, filename: str, content: bytes
) -> tuple[Artifact, str]:
    """Return a file as an artifact, and the value of its attribute. The same content has the same id."""
    digest = hashlib.sha256(content).hexdigest()
    identity = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{study}/{trial_id}/{filename}/{digest}"))
    prefix = "artifacts:" if trial_id is None else f"dashboard:artifacts:{trial_id}:"
    kind, encoding = mimetypes.guess_type(filename)
    meta = {
        "artifact_id": identity,
        "filename": filename,
        "mimetype": kind or "application/octet-stream",
        "encoding": encoding,
    }
    return Artifact(prefix + identity, identity, filename), json.dumps(meta)


def artifacts(attrs: Mapping[str, Any], trial_id: int | None = None) -> list[Artifact]:
    """Return the artifacts that bloodsearch stored for the study or one of its trials."""
    prefix = "artifacts:" if trial_id is None else f"dashboard:artifacts:{trial_id}:"
    return [found for found in _artifacts(attrs) if found.key.startswith(prefix)]


def pictured_trials(attrs: Mapping[str, Any]) -> set[int]:
    """Return the ids of the trials that have artifacts of bloodsearch."""
    keys = [found.key.split(":") for found in _artifacts(attrs)]
    return {int(key[2]) for key in keys if len(key) == 4 and key[2].isdecimal()}


def _artifacts(attrs: Mapping[str, Any]) -> Iterator[Artifact]:
    for key, value in attrs.items():
        if key.startswith(("artifacts:", "dashboard:artifacts:")):
            try:
                meta = json.loads(value)
                identity = uuid.UUID(meta["artifact_id"])
                # version 4 is Optuna's: a person's upload, which stays
                if identity.version == 5 and key.endswith(f":{identity}"):
                    yield Artifact(key, str(identity), str(meta["filename"]))
            except (TypeError, ValueError, LookupError):
                continue


def _note_prefix(trial_id: int | None) -> str:
    return "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"


def _body(attrs: Mapping[str, Any], prefix: str) -> str:
    parts: list[str] = []
    while isinstance(part := attrs.get(f"{prefix}{len(parts)}"), str):
        parts.append(part)
    return "".join(parts)


def _chunks(attrs: Mapping[str, Any], prefix: str, text: str) -> dict[str, str]:
    parts = [text[i : i + CHUNK] for i in range(0, len(text), CHUNK)]
    while f"{prefix}{len(parts)}" in attrs:  # what a longer text before has left
        parts.append("")
    return {f"{prefix}{i}": part for i, part in enumerate(parts)}
