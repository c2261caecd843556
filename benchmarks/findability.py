"""How often a stranger's first guess at a file, by a feature's name alone, is right.

    python -m benchmarks.findability [ROOT]

For each of 40 features FEATURES holds the words that the README or `--help` use for it, the most telling
one first, and a pattern that its code matches. A guess is made from file names only: a word in a file's
name counts two, a word in a folder's name counts one, the first word counts double, and a word that only
begins alike counts half. A file outside cli/, whose files are one command each, wins a tie, then the shorter
path. The guess is right if the file's text matches the pattern. The list was written before the flat modules
of version 0.1 were moved into folders.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FEATURES: list[tuple[str, str]] = [
    ("claim trial exact budget lease", r"def claim\("),
    ("heartbeat worker alive", r"class (Beat|Heartbeat)\b"),
    ("stop drain workers command", r"def stop\(\n?\s*study: StudyArgument"),
    ("status command", r"def status\("),
    ("leaderboard ranking best trials", r"def leaderboard\("),
    ("show one trial command", r"def _show_trial\("),
    ("replay trial curve", r"def replay_trial\("),
    ("final evaluation winner", r"def check_opening\("),
    ("finalists second stage fresh seeds", r"def finalist_rows\("),
    ("baselines reports recipes", r"def queue_baselines\("),
    ("ledger test split opened", r"def record_opening\("),
    ("data download fetch", r"def fetch\("),
    ("synthetic drawings stand-in", r"def make_split\("),
    ("bloodmnist data load test split sealed", r"def open_test_split\("),
    ("augment flips shift", r"def augment_epoch\("),
    ("losses focal weighted", r"def focal_loss\("),
    ("muon optimizer", r"class Muon\b"),
    ("schedule learning rate cycle", r"def lr_factor\("),
    ("patience early stopping training", r"def _?out_of_patience\("),
    ("pruner stop trials family", r"class FamilyPruner\b"),
    ("forecast pruner chance", r"class Forecast\b"),
    ("grid points sampler", r"def grid\("),
    ("sampler tpe startup", r"def trial_sampler\("),
    ("space parameter to config", r"def to_config\("),
    ("seed of a trial", r"def trial_seed\("),
    ("checkpoint path folder trial", r"def checkpoint_path\("),
    ("export onnx torch file", r"class SelfContained\b"),
    ("predict photographs folder", r"class Classifier\b"),
    ("compare trials paired", r"def find_side\("),
    ("report page html markdown", r"def _markdown\("),
    ("health advice space report", r"def _never_mattered\("),
    ("course claims verdict", r"def _claims_a\("),
    ("outage database retry", r"def retry_outage\("),
    ("password hidden url", r"def hide_passwords\("),
    ("storage sqlite postgres open", r"def open_storage\("),
    ("slots device worker cores", r"def plan_slots\("),
    ("doctor checks machine", r"def run_checks\("),
    ("dashboard read-only browser", r"def make_app\("),
    ("warm start from study", r"def warm_start\("),
    ("limits max params latency", r"limits?\.max_latency_ms is not None|def check_latency\("),
]


def guess(words: list[str], paths: list[Path]) -> Path | None:
    """Return the path whose names fit `words` best, None if no name fits."""

    def score(path: Path) -> int:
        total = 0
        for rank, word in enumerate(words):
            weight = 2 if rank == 0 else 1
            total += 2 * weight * _named(word, [path.stem])
            total += weight * _named(word, list(path.parts[:-1]))
        return total

    best = min(
        paths, key=lambda path: (-score(path), "cli" in path.parts, len(str(path)), str(path))
    )
    return best if score(best) else None


def _named(word: str, names: list[str]) -> int:
    tokens = [token for name in names for token in re.split(r"[_\W]", name)]
    return max((_likeness(word, token) for token in tokens), default=0)


def _likeness(a: str, b: str) -> int:
    """Return 2 for the same word or its plural, 1 if one word begins with the other, else 0."""
    if a.removesuffix("s") == b.removesuffix("s"):
        return 2
    short, long = sorted((a, b), key=len)
    return int(len(short) >= 4 and long.startswith(short[: max(4, len(short) - 2)]))


def main() -> None:
    """Print each feature with its guess, and how many guesses are right."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    folders = ("search", "models", "studies")
    paths = [p.relative_to(root) for d in folders for p in sorted((root / d).rglob("*.py"))]
    paths = [p for p in paths if p.name not in ("__init__.py", "__main__.py")]
    texts = {path: (root / path).read_text(encoding="utf-8") for path in paths}
    n_right = 0
    for text, pattern in FEATURES:
        guessed = guess(text.split(), paths)
        right = guessed is not None and re.search(pattern, texts[guessed]) is not None
        n_right += right
        homes = [str(path) for path in paths if re.search(pattern, texts[path])]
        print(
            f"{'ok  ' if right else 'miss'} {text:42} {guessed}{'' if right else f'  is in {homes}'}"
        )
    print(f"{n_right} of {len(FEATURES)}")


if __name__ == "__main__":
    main()
