"""Compile models/kernels/kernels.c when bloodsearch is installed, if a C compiler is at hand.

The package index has a complete C compiler as a wheel, ziglang, so no system package is needed. Its code is
faster than that of GCC 12 (max-pooling of 128 x 64 x 28 x 28 values: 0.55 against 0.70 ms).
Without a compiler the models use plain torch operations.
"""

from __future__ import annotations

import importlib.util
import platform
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("models/kernels")
VERSION = runpy.run_path(str(KERNELS / "sources.py"))["version"](KERNELS)
FLAGS = [
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-shared",
    "-fPIC",
    f'-DSOURCES="{VERSION}"',
]
ZIG_FLAGS = {
    "avx512": ["-mcpu=x86_64_v4+avx512bf16"],
    "avx2": ["-mcpu=x86_64_v3"],
    "generic": ["-mcpu=baseline"],
}
CC_FLAGS = {
    "avx512": ["-march=x86-64-v4", "-mavx512bf16", "-mprefer-vector-width=512"],
    "avx2": ["-march=x86-64-v3"],
    "generic": [],
}


def builds() -> list[str]:
    """Return the builds for this kind of machine: see models/kernels/__init__.py."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return ["generic", "avx2", "avx512"] if x86 else ["generic"]


def compilers(name: str) -> list[list[str]]:
    """Return the command lines to try for a build, without the files."""
    found = []
    if importlib.util.find_spec("ziglang"):
        zig = [sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=undefined"]
        found.append([*zig, *FLAGS, *ZIG_FLAGS[name]])
    if cc := shutil.which("cc"):
        found.append([cc, *FLAGS, *CC_FLAGS[name]])
    return found


class BuildKernels(build_ext):
    """Compile each build with the first compiler that can."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split(".")).with_suffix(".so"))

    def build_extension(self, ext: Extension) -> None:
        out = Path(self.get_ext_fullpath(ext.name))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.unlink(missing_ok=True)  # also where no compiler can make a new one
        for command in compilers(ext.name.rpartition("_")[2]):
            if (
                subprocess.run([*command, *ext.sources, "-o", str(out)], check=False).returncode
                == 0
            ):
                return
        print(
            f"no C compiler for {ext.name}: plain torch operations take its place", file=sys.stderr
        )


setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=[
        Extension(
            f"bloodsearch.models.kernels._{name}",
            ["models/kernels/kernels.c"],
            depends=[
                f"models/kernels/{part}.h"
                for part in (
                    "between",
                    "muon",
                    "optimizer",
                    "weight_gradient",
                    "weight_gradient_amx",
                    "first_layer_amx",
                    "winograd",
                )
            ],
            optional=True,
        )
        for name in builds()
    ],
)
