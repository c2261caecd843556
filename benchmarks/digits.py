"""The generic study on digits that are imported from pictures.

    python -m benchmarks digits

The digits are scikit-learn's, written out as pictures. A made-up writer wrote 60 of them, which stay in one
split and in one fold.
"""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.any_data import run_set
from benchmarks.end_to_end import bloodsearch

PER_WRITER = 60


def write_digits(folder: Path) -> Path:
    """Write scikit-learn's digits as PNG files, and return the table of their labels and writers."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    (folder / "png").mkdir(parents=True, exist_ok=True)
    listing = folder / "digits.csv"
    with listing.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "group"])
        for i, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            path = Path("png") / f"{i:04d}.png"
            Image.fromarray((image * 255 / 16).round().astype("uint8")).save(folder / path)
            rows.writerow([path, f"digit {label}", f"writer {i // PER_WRITER}"])
    return listing


def import_digits(folder: Path) -> str:
    """Import the pictures, and return the data set's path."""
    out = folder / "digits.npz"
    if not out.exists():
        listing = write_digits(folder)
        bloodsearch(folder, "data", "import", str(listing), "--size", "8", "--out", str(out))
    return str(out)


def run() -> None:
    run_set("digits", import_digits)
