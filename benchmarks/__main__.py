"""Run the benchmarks named on the command line, or all but those on request: print and keep their tables."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    *("exactness", "kills", "overhead", "scale", "efficiency", "survival", "ray_overhead"),
    *(
        "epochs",
        "operations",
        "kernels",
        "harness",
        "startup",
        "first_minute",
        "live",
        "dashboard",
        "memory",
        "quality",
        "recipe",
        "imports",
    ),
    "newton_schulz",
    *(
        "lengths",
        "landscape",
        "pruners",
        "samplers",
        "intervals",
        "differences",
        "selection",
        "image_noise",
        "distillation",
        "calibration",
        "end_to_end",
        "end_to_end_mlp",
        "breastmnist",
        "digits",
        "large_images",
        "plain_optuna",
    ),
)
ON_REQUEST = ("gpu", "whole_searches", "held_out")
"""Benchmarks that most machines cannot run, or that take a day. They run when they are named."""


def main() -> None:
    names = sys.argv[1:] or list(NAMES)
    for name in names:
        if name not in (*NAMES, *ON_REQUEST, "readme"):
            sys.exit(f"no benchmark {name!r}; there are: {', '.join((*NAMES, *ON_REQUEST))}")
        importlib.import_module(f"benchmarks.{name}").run()


if __name__ == "__main__":
    main()
