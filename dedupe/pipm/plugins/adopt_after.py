"""The common part of all plug-ins: adopt an environment after its tool changed it.

The tool imports a plug-in at each start, so this module imports others only when it needs them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing it from typing takes milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable


def adopt_after(tool: str, environment: Callable[[], object]) -> None:
    """Run `pipm adopt` on the path that *environment* returns, if the setting ``plugins`` names *tool*.

    The result is one line on standard error. An error here must not fail the tool's command.
    """
    try:
        result = _adopt(tool, environment)
    except Exception as error:
        result = f"error: {error}"
    if result:
        import sys

        print(f"pipm: {result}", file=sys.stderr, flush=True)


def _adopt(tool: str, environment: Callable[[], object]) -> str:
    """Return the result as a line; "" if the plug-in is off, or if there was nothing to do."""
    from pipm.store.configuration import plugins

    if tool not in plugins():
        return ""
    from pipm.env.places import marker_of

    path = str(environment() or "")
    if not path or not marker_of(path):
        return ""
    import os
    import subprocess
    import sys

    # Poetry and PDM may have pipm in a folder for a project's plug-ins, which is not on Python's own path.
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    start = f"import sys; sys.path.append({folder!r}); from pipm.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", start, "--quiet", "--color", "never", "adopt", path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()[-1:] or done.stderr.splitlines()[:1]
    result = lines[0] if lines else f"error: adopt ended with code {done.returncode}"
    return "" if result.startswith("Nothing to do") else result
