"""A progress bar on stderr: on a terminal only, after half a second, removed at the end."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from pipm.cli.format_text import count_text
from pipm.context.progress import Progress
from pipm.core.size_text import size_text
from pipm.fs.flock import announce_waits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.cli.output import Output

_DELAY = 0.5
_BAR = 30
_LEAST = 0.1
"""Seconds after which a rate says something."""


class TerminalProgress(Progress):
    """Draws a bar; it has no thread, because pipm forks workers."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._label = self._part = ""
        self._total = 0
        self._began = self._phase_began = time.monotonic()
        self._drawn = False

    def part(self, first: int, last: int, total: int) -> None:
        """See `Progress`."""
        numbers = f"{first}" if first == last else f"{first} to {last}"
        self._part = f"{numbers} of {total} environments: " if total > 1 else ""

    def phase(self, label: str, total: int) -> None:
        """See `Progress`."""
        self._label, self._total = label, total
        self._phase_began = time.monotonic()

    def advance(self, files: int, size: int) -> None:
        """See `Progress`."""
        if time.monotonic() - self._began < _DELAY or not self._total:
            return
        share = min(files / self._total, 1.0)
        bar = "━" * int(share * _BAR)
        numbers = f"{count_text(files)}/{count_text(self._total)}"
        numbers += pace_text(share, size, max(time.monotonic() - self._phase_began, _LEAST))
        text = f"{self._part}{self._label} {bar:─<{_BAR}} {numbers}"
        width = _terminal_width()
        _draw(f"\r\x1b[2K{text[: width - 1]}")
        self._drawn = True

    def note(self, text: str) -> None:
        """See `Progress`."""
        self.done()
        self._output.note("note", text)

    def done(self) -> None:
        """See `Progress`."""
        if self._drawn:
            _draw("\r\x1b[2K")
            self._drawn = False


def pace_text(share: float, size: int, seconds: float) -> str:
    """Return the bytes that are done, their rate, and how long the rest of a phase takes."""
    sizes = f"  {size_text(size)}  {size_text(int(size / seconds))}/s" if size else ""
    if not 0 < share < 1:
        return sizes
    minutes, rest = divmod(round(seconds / share - seconds), 60)
    return f"{sizes}  {minutes}:{rest:02} left"


class NotesOnly(Progress):
    """Progress without a terminal: prints notes only."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._output.note("note", text)


def progress_for(output: Output) -> Progress:
    """Return the progress that *output*'s settings and the terminal allow."""
    off = output.quiet or output.json or os.environ.get("PIPM_NO_PROGRESS")
    plain = off or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb"
    progress = NotesOnly(output) if plain else TerminalProgress(output)
    announce_waits(progress.note)
    return progress


def _draw(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed
        sys.stderr.write(text)
        sys.stderr.flush()


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80
