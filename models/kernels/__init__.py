"""Compiled kernels for what lies between two convolutions on a CPU: one pass over memory instead of several.

They are optional. `setup.py` compiles `kernels.c` when the package is installed. Without a compiler, and with
BLOODSEARCH_KERNELS=off, the models use plain torch operations. Pooling and ReLU then give the same bits.
Batch normalisation in bfloat16 differs in the last ones. So do convolutions' gradients in bfloat16, and with
AVX2 alone whole convolutions and batch normalisation in float32.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

import torch

from . import sources

VARIABLE = "BLOODSEARCH_KERNELS"
BUILDS = ("avx512", "avx2", "generic")
"""Names of the builds, the fastest first. "avx512" needs AVX512-BF16, too. What all of them have gives the
same bits. Convolutions are in one build each: weights' gradients in "avx512", Winograd's in "avx2"."""
V3 = ("avx2", "fma3", "bmi", "bmi2", "lzcnt", "f16c")
"""What the compilers of "avx2" and "avx512" take for granted. A virtual machine may lack some of it."""

_SUFFIX = {torch.bfloat16: "bfloat16", torch.float32: "float32"}


@functools.cache
def build_name() -> str | None:
    """Return the name of the build in use, None if there is none or it is switched off."""
    wanted = os.environ.get(VARIABLE, "")
    return next((name for name in BUILDS if wanted in ("", name) and is_usable(name)), None)


def _path(name: str) -> Path:
    return Path(__file__).with_name(f"_{name}.so")


@functools.cache
def _library(name: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(_path(name)))


def is_usable(name: str) -> bool:
    """Return whether a build is here, is as new as its sources, and can run on this processor."""
    if name == "avx512" and not torch.cpu._is_avx512_bf16_supported():
        return False
    if name != "generic" and not all(torch.cpu.get_capabilities().get(unit) for unit in V3):
        return False
    return _path(name).exists() and not is_old(name)


def is_old(name: str) -> bool:
    """Return whether a build was compiled from other sources than those that lie here, if they do.

    Its kernels may take other arguments, which nothing else would notice.
    """
    if not _path(name).exists():
        return False
    wanted = sources.version(Path(__file__).parent)
    try:
        made_of = (ctypes.c_char * 17).in_dll(_library(name), "kernels_sources").value.decode()
    except ValueError:
        made_of = None  # compiled before sources had a version
    return wanted is not None and made_of != wanted


def call(name: str, dtype: torch.dtype, *arguments: torch.Tensor | float | None) -> None:
    """Run a kernel. Tensors are passed as the address of their first element, None as a null pointer.

    The kernel trusts shapes and memory formats. The global interpreter lock is released.
    """
    build = build_name()
    assert build is not None
    function = _functions.get((build, name, dtype))
    if function is None:
        function = _library(build)[f"{name}_{_SUFFIX[dtype]}"]
        function.argtypes = [_c_type(argument) for argument in arguments]
        _functions[build, name, dtype] = function
    function(*[a.data_ptr() if isinstance(a, torch.Tensor) else a for a in arguments])


_functions: dict[tuple[str, str, torch.dtype], Any] = {}
"""Kernels that know the types of their arguments. Converting each argument anew took 0.3 ms of a step."""


def _c_type(argument: torch.Tensor | float | None) -> type[ctypes._SimpleCData[Any]]:
    if isinstance(argument, float):
        return ctypes.c_double
    return ctypes.c_long if isinstance(argument, int) else ctypes.c_void_p


def has(name: str, dtype: torch.dtype) -> bool:
    """Return whether a kernel is here. A build that is older than the sources may lack it."""
    build = build_name()
    return build is not None and hasattr(_library(build), f"{name}_{_SUFFIX[dtype]}")


def on_one_avx2_core() -> bool:
    """Return whether this processor has AVX2 and nothing better, and torch uses one thread of it."""
    return _is_avx2() and torch.get_num_threads() == 1


@functools.cache
def _is_avx2() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def usable(x: torch.Tensor) -> bool:
    """Return whether kernels can read `x`: floats on a CPU in channels-last memory, outside an export.

    They write to what `torch.empty` makes, which must be float32 on the CPU. So a program that has changed
    torch's defaults goes without them.
    """
    return (
        x.device.type == "cpu"
        and x.dtype in _SUFFIX
        and build_name() is not None
        and x.is_contiguous(memory_format=torch.channels_last)
        # an exported graph contains the plain operations
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and _makes_float32()
    )


def _makes_float32() -> bool:
    # asking for the default device takes 4 microseconds at each layer, this takes 2
    made = torch.empty(0)
    return made.dtype == torch.float32 and made.device.type == "cpu"


def like(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return an empty channels-last map of another size: (n, c, height, width)."""
    n, c = x.shape[:2]
    return torch.empty((n, height, width, c), dtype=x.dtype).permute(0, 3, 1, 2)


def gradient(grad: torch.Tensor) -> torch.Tensor:
    """Return an incoming gradient as kernels read it, in channels-last memory."""
    return grad.contiguous(memory_format=torch.channels_last)
