"""What stands around every command: settings, errors to exit codes, one place for both."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

from pipm.cli.output import Output, check_output
from pipm.cli.streams import drop_output, finish_output
from pipm.errors import InterruptedRunError, OutputError, PipmError, UsageError
from pipm.store.paths import store_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULTS: dict[str, Any] = {**Output._field_defaults, "store": ""}
"""The settings that every command has, as they are when nobody chose otherwise."""


def run_guarded(chosen: Mapping[str, Any], work: Callable[[Output, str], int]) -> int:
    """Let *work* have output and store as *chosen*; its exit code, or that of the error that it raised."""
    output = Output(**{name: value for name, value in chosen.items() if name != "store"})
    try:
        if output.color not in ("auto", "always", "never"):
            raise UsageError(f"--color {output.color!r}", hint="choose auto, always or never")
        return work(output, store_path(chosen.get("store") or None))
    except PipmError as error:
        output.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        interruption = InterruptedRunError("Interrupted", hint="nothing was lost; run it again to finish")
        output.error(interruption)
        return interruption.exit_code


def run_program_to_end(call: Callable[[], int | None]) -> int:
    """Return the exit code of the whole program *call*, whatever becomes of it."""
    gc.disable()  # short-lived, with few cycles: collections would only walk live facts again and again
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
        drop_output()  # whoever read it has seen enough (`pipm list | head`)
        code = 1
    except Exception as error:  # noqa: BLE001 - the one place: what else could come out of here?
        code = _explained(output, error)
    return code or 0


def _meant(error: Exception) -> PipmError:
    """Return what *error* means to a person; a file that fails somewhere unforeseen is no defect of ours."""
    if isinstance(error, OSError) and error.errno:
        from pipm.fs.os_errors import explain_os_error  # noqa: PLC0415 - ends the run

        return explain_os_error(error, "go on")
    return PipmError(
        f"Internal error: {type(error).__name__}: {error}",
        hint="please report it, with this command's -v output",
    )


def _explained(output: Output, error: Exception) -> int:
    """Tell an error that no command told: wrong usage (of typer's classes), a defect of ours."""
    show = getattr(error, "show", None)
    code: int = getattr(error, "exit_code", 1)
    if show is None:
        output.error(_meant(error))
        if "-v" in sys.argv or "--verbose" in sys.argv:
            import traceback  # noqa: PLC0415 - for who looks for our defects

            traceback.print_exception(error)
    elif output.json:
        output.error(UsageError(getattr(error, "message", "") or "no command", hint="pipm -h"))
    else:
        show()
    return code
