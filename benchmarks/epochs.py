"""Seconds an epoch takes, ours against the standard loop, epoch by epoch in turn.

    python -m benchmarks epochs

Each thread count runs in processes of its own, one for each loop, with the variables that a worker
gets; while one trains, the other waits. An epoch is training and validation. The peak is the speed of
the fastest matrix product or convolution of the run.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks.common import in_own_process, save, shown, spread, table

N_EPOCHS = 3
THREADS = (1, 2)


def measure(name: str, data: Any, device_data: Any) -> dict[str, Any]:
    """Epochs of one model, ours and the standard loop's in turn; the first of ours warms up."""
    import torch

    from benchmarks.engine_cases import case, flops_per_image
    from benchmarks.standard_loop import OtherProcess
    from bloodsearch.search.training.fit import EpochResult, fit

    config = case(name, epochs=N_EPOCHS + 1)
    standard = OtherProcess(name, threads=torch.get_num_threads())
    ours: list[float] = []
    theirs: list[float] = []

    def on_epoch(result: EpochResult) -> None:
        if result.epoch > 1:
            ours.append(result.seconds)
            theirs.append(standard.epoch())

    fit(config, device_data, seed=0, on_epoch=on_epoch)
    standard.close()
    forward, step = flops_per_image(config.model)
    n_train, n_val = len(data.train_images), len(data.val_images)
    return {
        "model": name,
        "ours": spread(ours),
        "standard": spread(theirs),
        "ratio": spread([b / a for a, b in zip(ours, theirs, strict=True)]),
        "images_per_second": n_train / spread(ours)["median"],
        "flop_per_epoch": n_train * step + n_val * forward,
    }


def child(threads: int) -> None:
    """All models with one thread count; prints JSON."""
    import torch

    from benchmarks.engine_cases import CASES
    from benchmarks.peak import measured_peak, operations_per_cycle
    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.training.device import choose_precision, to_device

    torch.set_num_threads(threads)
    data = load_dataset("bloodmnist")
    device_data = to_device(data, torch.device("cpu"))
    precision = choose_precision(torch.device("cpu"))
    # a bfloat16 product that the processor has to imitate takes minutes
    rows, peaks = [], {"float32": 0.0, precision: 0.0}
    for name in CASES:
        # before each model, so that a busy moment of the machine does not pass for its peak
        for dtype in peaks:
            peaks[dtype] = max(peaks[dtype], measured_peak(dtype))
        rows.append(measure(name, data, device_data))
        print(name, rows[-1]["ours"], rows[-1]["standard"], file=sys.stderr, flush=True)
    for row in rows:
        rate = row["flop_per_epoch"] / row["ours"]["median"]
        row["share_of_peak"] = rate / peaks[precision]
    could = {dtype: operations_per_cycle(dtype) for dtype in peaks}
    found = {"threads": threads, "precision": precision, "peaks": peaks, "could": could}
    print(json.dumps({**found, "rows": rows}))


def run() -> None:
    found = []
    for threads in THREADS:
        found.append(in_own_process("epochs", str(threads), threads=threads))
    rows = [
        [
            part["threads"],
            row["model"],
            shown(row["ours"], digits=2),
            shown(row["standard"], digits=2),
            f"{row['ratio']['median']:.1f}x",
            f"{row['images_per_second']:.0f}",
            f"{100 * row['share_of_peak']:.0f} %",
        ]
        for part in found
        for row in part["rows"]
    ]
    columns = ["threads", "model", "ours", "standard loop", "ratio", "images/s", "of peak"]
    table("seconds per epoch", columns, rows)
    table(
        "the peak, and what the units of the cores could do",
        ["threads", "type", "measured", "operations a cycle", "reached at"],
        [_peak_row(part, dtype) for part in found for dtype in part["peaks"]],
    )
    save("epochs", found, by_processor=True)


def _peak_row(part: dict[str, Any], dtype: str) -> list[object]:
    """A measured peak, and the clock at which the units would have to be busy in every cycle for it."""
    measured, could = part["peaks"][dtype], part["could"][dtype]
    row = [part["threads"], dtype, f"{measured / 1e9:.0f} GFLOP/s"]
    if could is None:
        return [*row, "not known", ""]
    could *= part["threads"]
    return [*row, could, f"{measured / could / 1e9:.1f} GHz"]


if __name__ == "__main__":
    child(int(sys.argv[1]))
