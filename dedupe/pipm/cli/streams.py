"""Handling closed, full and broken standard streams.

A warm `pipm run` imports this: nothing here may import what takes milliseconds (dataclasses, typing, re).
"""

from __future__ import annotations

import os
import sys


def fill_streams() -> None:
    """Open replacements for standard streams that are closed (``>&-``).

    Otherwise the next opened file, perhaps one of the store, would get the number 1, and programs that pipm
    starts would print into it. Writing to a closed output fails; messages to a closed error stream are lost.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the kernel gives the lowest free number
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")


def finish_output() -> None:
    """Flush standard output; raises OSError or OutputError (`>/dev/full`)."""
    sys.stdout.flush()


def drop_output() -> None:
    """Redirect standard output to the null device, after the reader closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
