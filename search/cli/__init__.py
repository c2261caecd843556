"""The `bloodsearch` command. Each command parses, calls the library and shows the result.

Nothing here imports torch, medmnist or scikit-learn: `--help` and `status` answer at once.
"""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import sys
from collections.abc import Iterator

import typer

from ...studies import StudyFileError
from ..errors import BloodsearchError, UsageError
from . import commands, output

app = commands.build_app()


def main(args: list[str] | None = None) -> None:
    """Run a command line and exit with its code. An error is one line, without a traceback."""
    args = sys.argv[1:] if args is None else args
    debug = "--debug" in args
    logging.captureWarnings(not debug)  # library warnings are not for users
    output.set_up()
    stream = sys.stdout
    try:
        with _sigterm_interrupts():
            code = app(args=args or ["--help"], prog_name="bloodsearch", standalone_mode=False)
        output.flush()
    except SystemExit as ended:  # Typer's on a broken pipe: it prints `--help` by itself
        sys.stdout = stream
        output.line()  # notices it again if the pipe is standard output
        code = 0 if output.reader_left() else ended.code
    except Exception as error:
        if debug:
            raise
        output.message(_one_line(error))
        code = _exit_code(error)
    sys.exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C until a command installs its own handler."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _exit_code(error: Exception) -> int:
    if isinstance(error, StudyFileError):
        return UsageError.exit_code
    if isinstance(error, BloodsearchError | typer.TyperException):
        return error.exit_code
    return 4 if _is_database_error(error) else 1


def _one_line(error: Exception) -> str:
    if isinstance(error, typer.TyperException):
        text = error.format_message()
        if "'trial'" in text and "valid integer" in text:
            return "the number of the trial comes first, then the study: bloodsearch show 4 STUDY"
        text = re.sub(r"Input (should be .*?)(, unable to parse .*)?$", r"it \1", text)
        called = getattr(getattr(error, "ctx", None), "command_path", "bloodsearch")
        return f"{text.removesuffix('.')} (`{called} --help` shows the options)"
    if isinstance(error, BloodsearchError | StudyFileError):
        return str(error)
    if isinstance(error, typer.Abort):
        return "aborted"
    if _is_database_error(error):
        cause = error.__cause__ if type(error).__name__ == "StorageInternalError" else None
        return (
            f"the storage failed: {_first_line(cause or error)}; `bloodsearch doctor` looks at it"
        )
    text = _first_line(error)
    return f"unexpected error, {type(error).__name__}: {text} (--debug shows the traceback)"


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:300]


def _is_database_error(error: Exception) -> bool:
    # without importing SQLAlchemy for a typo in an option
    modules = {cls.__module__.split(".")[0] for cls in type(error).__mro__}
    return "sqlalchemy" in modules or type(error).__name__ == "StorageInternalError"
