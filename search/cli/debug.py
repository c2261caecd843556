"""The option --debug, which every command accepts and only `main` reads."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def with_debug(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with the option --debug, which is dropped before the call."""

    @functools.wraps(command)
    def accepts_debug(*args: Any, debug: bool = False, **kwargs: Any) -> None:
        command(*args, **kwargs)

    parameters = list(inspect.signature(command, eval_str=True).parameters.values())
    parameters.append(
        inspect.Parameter(
            "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=DebugOption
        )
    )
    # Typer reads the signature or the annotations, depending on its version
    accepts_debug.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    accepts_debug.__annotations__ = {p.name: p.annotation for p in parameters}
    return accepts_debug
