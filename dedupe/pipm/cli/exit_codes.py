"""Running a command: apply the common options, map exceptions to exit codes."""

from __future__ import annotations

import errno
import gc
import sys
from functools import partial

from pipm.cli.output import Output, check_output
from pipm.cli.streams import drop_output, finish_output
from pipm.errors import InterruptedRunError, OutputError, PipmError, UsageError
from pipm.fs.flock import announce_waits
from pipm.store.paths import store_path
from pipm.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

DONE, FAILED, PARTLY = 0, 1, 3
"""Exit codes; the error classes have the others: 2 (wrong usage) and 130 (interrupted)."""

DEFAULTS: dict[str, Any] = {**Output._field_defaults, "store": ""}
"""The common options and their defaults."""
_NO_THREAD = "can't start new thread"
"""What Python says in a RuntimeError if the system refuses a thread."""


def run_guarded(chosen: Mapping[str, Any], work: Callable[[Output, str], int]) -> int:
    """Call *work* with the output and store that *chosen* names; return its or its error's exit code."""
    output = Output(**{name: value for name, value in chosen.items() if name != "store"})
    try:
        if output.color not in ("auto", "always", "never"):
            raise UsageError(f"--color {output.color!r}", hint="choose auto, always or never")
        announce_waits(partial(output.note, "note"))
        return work(output, store_path(chosen.get("store") or None))
    except PipmError as error:
        output.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        interruption = InterruptedRunError("Interrupted", hint="nothing was lost; run it again to finish")
        output.error(interruption)
        return interruption.exit_code


def run_program_to_end(call: Callable[[], int | None]) -> int:
    """Run the program *call* and return its exit code; no exception leaves this function."""
    gc.disable()  # the process is short-lived and makes few cycles
    output = Output(json="--json" in sys.argv)
    check_output()
    try:
        code = call()
        finish_output()
    except KeyboardInterrupt:
        code = InterruptedRunError.exit_code
    except OutputError as error:
        output.error(error)
        code = error.exit_code
    except BrokenPipeError:
        drop_output()  # the reader closed the pipe (`pipm list | head`)
        code = 1
    except Exception as error:  # noqa: BLE001 - the one place: what else could come out of here?
        code = explained(error, output)
    return code or 0


def print_version() -> int:
    """Print the version, without the slow import of typer."""
    return run_program_to_end(lambda: Output().result(f"pipm {__version__}"))


def _meant(error: Exception) -> PipmError:
    """Return the error to print for *error*: a limit of the system, or a defect of pipm."""
    if isinstance(error, MemoryError):
        error = OSError(errno.ENOMEM, "")
    elif str(error) == _NO_THREAD:
        error = OSError(errno.EAGAIN, "")
    if isinstance(error, OSError) and error.errno:
        from pipm.fs.os_errors import explain_os_error  # noqa: PLC0415 - ends the run

        return explain_os_error(error, "go on")
    return PipmError(
        f"Internal error: {type(error).__name__}: {error}",
        hint="please report it, with this command's -v output",
    )


def explained(error: Exception, output: Output = Output()) -> int:  # noqa: B008 - a value
    """Print an error that no command caught: wrong usage (of typer's classes), or a defect of pipm."""
    show = getattr(error, "show", None)
    code: int = getattr(error, "exit_code", 1)
    if show is None:
        output.error(_meant(error))
        if "-v" in sys.argv or "--verbose" in sys.argv:
            import traceback  # noqa: PLC0415 - only for reports of errors in pipm

            traceback.print_exception(error)
    elif output.json:
        output.error(UsageError(getattr(error, "message", "") or "no command", hint="pipm -h"))
    else:
        show()
    return code
