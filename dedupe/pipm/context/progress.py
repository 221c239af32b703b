"""How long work tells that it goes on; the words and bars are `ui`'s."""

from __future__ import annotations


class Progress:
    """Hears what a command does; this one says nothing."""

    def phase(self, label: str, total: int) -> None:
        """A phase with *total* files begins."""

    def advance(self, files: int, size: int) -> None:
        """So many files, of so many bytes, of the phase are done."""

    def note(self, text: str) -> None:
        """Something that a person should know while waiting."""

    def done(self) -> None:
        """Nothing goes on any more."""
