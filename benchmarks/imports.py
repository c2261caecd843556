"""How fast pictures become a data set, and in how much memory; how fast copies are looked for.

    python -m benchmarks imports

Pictures are random but smooth, 64 x 64 in colour, saved as PNG. Each import is a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import in_own_process, save, shown, spread, table

N_PICTURES = (2_000, 20_000)
N_CLASSES = 8
SIDE = 64
N_RUNS = 3
N_TRAIN, N_VAL = 90_000, 10_000
"""About the images of PathMNIST, the largest set of MedMNIST."""


def write_pictures(folder: Path, n: int) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(n):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        path = folder / f"class {i % N_CLASSES}" / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)


def child(source: Path) -> None:
    """Import the pictures of a folder; print seconds and peak memory."""
    import resource

    from bloodsearch import import_images

    started = time.perf_counter()
    import_images(source, out=source.parent / "out.npz", force=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def copies() -> None:
    """Look for copies among random images of 28 x 28 pixels; print seconds and peak memory."""
    import resource

    import numpy as np

    from bloodsearch.search.data.checks import check_images

    rng = np.random.default_rng(0)
    train, val = (
        (rng.integers(0, 256, (n, 28, 28, 3), dtype=np.uint8), rng.integers(0, 9, n, np.uint8))
        for n in (N_TRAIN, N_VAL)
    )
    started = time.perf_counter()
    checks = check_images(train, val, [str(i) for i in range(9)])
    seconds = time.perf_counter() - started
    assert not checks.similar_across
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def run() -> None:
    rows, result = [], {}
    with tempfile.TemporaryDirectory() as name:
        for n in N_PICTURES:
            source = Path(name) / str(n)
            write_pictures(source, n)
            done = [in_own_process("imports", str(source)) for _ in range(N_RUNS)]
            rates = spread([n / one["seconds"] for one in done])
            peaks = spread([one["peak_mb"] for one in done])
            result[f"import of {n:,} pictures"] = {"per_second": rates, "peak_mb": peaks}
            rows.append(
                [f"import of {n:,} pictures", shown(rates, digits=0), shown(peaks, digits=0)]
            )
    done = [in_own_process("imports", "copies") for _ in range(N_RUNS)]
    rates = spread([(N_TRAIN + N_VAL) / one["seconds"] for one in done])
    peaks = spread([one["peak_mb"] for one in done])
    what = f"data checks of {N_TRAIN:,} and {N_VAL:,} images of 28 x 28"
    result[what] = {"per_second": rates, "peak_mb": peaks}
    rows.append([what, shown(rates, digits=0), shown(peaks, digits=0)])
    table("own pictures, one process", ["what", "images/s", "peak memory, MB"], rows)
    save("imports", result)


if __name__ == "__main__":
    copies() if sys.argv[1] == "copies" else child(Path(sys.argv[1]))
