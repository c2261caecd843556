"""The default study restricted to MLPs, from the search to the final evaluation: see `end_to_end`."""

from __future__ import annotations

from benchmarks import end_to_end


def run() -> None:
    end_to_end.run("mlp")
