"""``python -m pipm`` and the command ``pipm``."""

from __future__ import annotations

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and end the process."""
    try:
        from pipm.cli.streams import fill_streams  # noqa: PLC0415 - as all here, when it is needed

        fill_streams()
        code = _code()
        code = _finish() or code
    except KeyboardInterrupt:  # during the import of the command line, say
        code = _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - of commands that start without `run_program_to_end`
        from pipm.cli.exit_codes import explained  # noqa: PLC0415 - ends the run

        code = explained(error)
    if sys.getprofile() or sys.gettrace():
        sys.exit(code)  # a profiler writes its data at Python's own end
    # All is done. Python's own end would free each object, and a Ctrl-C then would end it with a traceback.
    os._exit(code)


def _finish() -> int:
    """Flush the output; return 1 if that fails, which was already reported."""
    from pipm.cli.streams import finish_output  # noqa: PLC0415 - likewise
    from pipm.errors import OutputError  # noqa: PLC0415 - likewise

    try:
        finish_output()
    except (OSError, OutputError):
        return 1
    return 0


def _code() -> int:
    """Run the command of the arguments; return the exit code."""
    if sys.argv[1:2] in (["pip"], ["install"]) and not {"-h", "--help"} & {*sys.argv}:
        from pipm.cli.run_pip_command import start_pip  # noqa: PLC0415 - without the cost of typer

        return start_pip(sys.argv[1:])
    code = None
    if sys.argv[1:2] == ["run"]:
        from pipm.cli.run_program import start_run  # noqa: PLC0415 - likewise

        code = start_run(sys.argv[1:])
    elif sys.argv[1:] in (["--version"], ["-V"]):
        from pipm.cli.exit_codes import print_version  # noqa: PLC0415 - likewise

        code = print_version()
    elif "sync" in sys.argv:
        import gc  # noqa: PLC0415 - likewise

        gc.disable()  # sync works without it, and importing its modules would start it ten times
        from pipm.cli.quick_start import quick_sync  # noqa: PLC0415 - likewise, where it is plain what is meant

        code = quick_sync(sys.argv[1:])
    elif "adopt" in sys.argv:
        from pipm.cli.quick_start import quick_adopt  # noqa: PLC0415 - likewise

        code = quick_adopt(sys.argv[1:])
    if code is not None:
        return code
    from pipm.cli.application import run  # noqa: PLC0415 - `import pipm` stays free of typer

    return run()


if __name__ == "__main__":
    main()
