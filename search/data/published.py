"""What others have published for the official test splits, as data with its source."""

from __future__ import annotations

import tomllib
from importlib import resources


def published(dataset: str) -> dict[str, dict[str, float]]:
    """Return the published accuracy and AUC of a set by method, as far as they are known; {} for others."""
    file = resources.files("bloodsearch.search.data").joinpath("published.toml")
    tables: dict[str, dict[str, dict[str, float]]] = tomllib.loads(file.read_text(encoding="utf-8"))
    return tables.get(dataset, {})
