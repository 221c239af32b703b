"""Formatting numbers, sizes, times and paths."""

from __future__ import annotations

import os


def count_text(number: int) -> str:
    """``29 869``."""
    return f"{number:,}".replace(",", " ")


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count_text(number)} {noun}{'' if number == 1 else 's'}"


def seconds_text(seconds: float) -> str:
    """``[12ms]``, ``[3.2s]``."""
    return f"[{seconds * 1000:.0f}ms]" if seconds < 1 else f"[{seconds:.1f}s]"


def path_text(path: str) -> str:
    """Return the path with ``~`` for the home folder, and without bytes that a terminal cannot show."""
    home = os.path.expanduser("~")
    if path == home or path.startswith(f"{home}/"):
        path = "~" + path[len(home) :]
    return printable(path)


def missing_store_text(store: str) -> str:
    """Return the note that there is no store at *store*; or "" where there is one."""
    there = os.path.isdir(f"{store}/v1")
    return "" if there else f"there is no store at {path_text(store)}; if it was moved: --store DIR"


def near_text(path: str) -> str:
    """Return the path relative to the working folder if it lies there, else as `path_text` does."""
    here = f"{os.path.realpath('.')}/"
    return printable(path[len(here) :]) if path.startswith(here) else path_text(path)


def with_tilde(text: str) -> str:
    """Return *text* with ``~`` for the home folder in paths."""
    return text.replace(f"{os.path.expanduser('~')}/", "~/")


def printable(text: str) -> str:
    """Return *text* with undecodable bytes and control characters escaped."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)


def age_text(seconds: float) -> str:
    """``2 hours ago``."""
    for unit, length in (("year", 31536000), ("month", 2592000), ("day", 86400), ("hour", 3600)):
        if seconds >= length:
            return f"{counted(int(seconds // length), unit)} ago"
    if seconds >= 60:
        return f"{counted(int(seconds // 60), 'minute')} ago"
    return "just now"
