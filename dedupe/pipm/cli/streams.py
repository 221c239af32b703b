"""The standard streams where they are closed, full or gone.

A warm `pipm run` imports this: nothing here may import what takes milliseconds (dataclasses, typing, re).
"""

from __future__ import annotations

import os
import sys


def fill_streams() -> None:
    """Put something in the place of standard streams that are closed (``>&-``).

    Else the next file that is opened, of the store perhaps, would get the number 1, and what programs that
    pipm starts print would be written into it. What is written to a closed output fails, as it should; what
    is said on a closed error stream is lost.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the lowest free number is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")


def finish_output() -> None:
    """Write what is still to be printed, or raise what is in the way (`>/dev/full`)."""
    sys.stdout.flush()


def drop_output() -> None:
    """Let what is still to be printed go nowhere: the reader of our pipe has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
