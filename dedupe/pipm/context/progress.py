"""The interface for reporting progress of long work; `cli` prints it."""

from __future__ import annotations


class Progress:
    """Receives the progress of a command; this one ignores it."""

    def part(self, first: int, last: int, total: int) -> None:
        """Report that work begins on the environments *first* to *last* of *total*."""

    def phase(self, label: str, total: int) -> None:
        """Report that a phase with *total* files begins."""

    def advance(self, files: int, size: int) -> None:
        """Report how many files and bytes of the phase are done."""

    def note(self, text: str) -> None:
        """Report something that a user should know while waiting."""

    def done(self) -> None:
        """Report the end of all work."""
