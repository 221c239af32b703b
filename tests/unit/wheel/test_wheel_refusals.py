"""pip's output as an error in one line."""

from __future__ import annotations

import pytest
from pipm.core.pins import Pin
from pipm.wheel.refusals import UnreachableError, explained, nearest

PINS = (Pin("numpy", "1.19.0"), Pin("six", "1.16.0"))
BUILD = """Collecting numpy==1.19.0
  error: subprocess-exited-with-error
  \u00d7 Preparing metadata (pyproject.toml) did not run successfully.
  ╰─> [2 lines of output]
      Traceback (most recent call last):
      ModuleNotFoundError: No module named 'distutils'
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
error: metadata-generation-failed

\u00d7 Encountered error while generating package metadata.
╰─> numpy

hint: See above for details.
"""
MISSING = """Looking in indexes: https://me:****@i/simple
ERROR: Could not find a version that satisfies the requirement numpy==1.19.0 (from versions: {})
ERROR: No matching distribution found for numpy==1.19.0
"""
MANY = ", ".join(f"1.{minor}.{patch}" for minor in range(40) if minor != 19 for patch in range(9))


@pytest.mark.parametrize(
    ("output", "message", "hint"),
    [
        (BUILD, "numpy 1.19.0 cannot be built: ModuleNotFoundError: No module named 'distutils'", "-v shows"),
        (
            MISSING.format(MANY),
            "numpy 1.19.0 is not on https://i/simple, or not for Python 3.13.0",
            "1.18.7, ",
        ),
        (
            MISSING.format("none"),
            "numpy 1.19.0 is not on https://i/simple, or not for Python 3.13.0",
            "check the name, the index, and your login",
        ),
        ("ERROR: " + "x" * 9000, f"pip cannot provide numpy 1.19.0, six 1.16.0: {'x' * 300} …", "-v shows"),
        ("ERROR: [Errno 28] No space left on device", "does not fit on the disk", "free some space"),
        ("Traceback\nOSError: odd\n", "pip cannot provide numpy 1.19.0, six 1.16.0: OSError:", "-v shows"),
        ("", "pip cannot provide numpy 1.19.0, six 1.16.0: ", "-v shows"),
    ],
)
def test_one_line_says_it(output: str, message: str, hint: str) -> None:
    error = explained(PINS, output, index="https://i/simple", python="3.13.0")
    assert message in error.message
    assert len(error.message.splitlines()) == 1
    assert len(error.message) < 500
    assert hint in (error.hint or "")
    assert error.details == output


def test_nobody_there() -> None:
    for output in (
        MISSING.format("none"),
        "WARNING: Connection broken\nERROR: x",
        "ERROR: HTTP error 404 for six",
    ):
        assert isinstance(explained(PINS, output, index="i", python="3"), UnreachableError)
    assert not isinstance(explained(PINS, MISSING.format(MANY), index="i", python="3"), UnreachableError)


def test_the_nearest_versions() -> None:
    versions = ["0.9", "1.0", "odd", "2.0rc1", "2.0", "3.0", "10.0"]
    assert nearest("1.5", versions) == ["0.9", "1.0", "2.0rc1", "2.0"]
    assert nearest("11", versions) == ["3.0", "10.0"]
    assert nearest("", versions) == ["3.0", "10.0"]
