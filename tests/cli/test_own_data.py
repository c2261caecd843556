"""The guide "Own data" works from the pictures to a prediction, by the commands that it shows."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import pytest
from tests_support import run_command
from worker_here import worker_here

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "own-data.md"
SHORTER = {
    "optimize": "--trials 2 --workers 1 --epochs 2 --set training.final_epochs.mlp=40 --set search.folds=0 "
    "--set space.arch=mlp --set space.optimizer=adamw --set space.mlp_depth=1 --set space.mlp_width=64",
    "final-eval": "--replicates 2 --finalists 1 --workers 1",
}
"""Options that a test adds so that trainings take seconds."""


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.slow
def test_the_guide_from_pictures_to_a_prediction(tmp_path: Path) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    make, use = blocks("python", text)
    (commands,) = blocks("sh", text.split("<!-- run -->")[1].split("<!-- /run -->")[0])
    with contextlib.chdir(tmp_path):
        exec(make, {})
    assert len(list((tmp_path / "digits").rglob("*.png"))) == 1797
    said = {}
    storage = f"sqlite:///{tmp_path / 'own.db'}"
    for line in commands.splitlines():
        words = shlex.split(line)[1:]
        more = SHORTER.get(words[0], "").split()
        with worker_here():
            done = run_command(*words, *more, cwd=tmp_path, BLOODSEARCH_STORAGE=storage)
        said[" ".join(words[:2] if words[0] == "data" else words[:1])] = done.stdout
    assert "1,797 pictures of 8 x 8 pixels" in said["data import"]
    assert "whole groups" in said["data import"]
    assert "digits (own data)" in said["data describe"]
    assert (tmp_path / "classes.png").stat().st_size > 10_000
    assert "test macro-F1" in said["final-eval"]
    assert "on digits (own data)" in said["final-eval"]
    predicted = re.findall(r"digits/3/w\S+\.png +(\d) ", said["predict"])
    assert len(predicted) == 183
    assert sum(label == "3" for label in predicted) > 100
    with contextlib.chdir(tmp_path):
        exec(use, {})
