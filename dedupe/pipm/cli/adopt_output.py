"""The output of `adopt` and `release`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pipm.cli.changed_files_output import changes_text
from pipm.cli.format_text import count_text, counted, path_text, seconds_text
from pipm.core.reasons import Reason
from pipm.core.size_text import size_text
from pipm.env.places import VENV, lost_interpreter, made_by_uv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.cli.output import Output
    from pipm.share.adoption import Adoption
    from pipm.share.private_copies import Released

_CHANGED = frozenset({Reason.CHANGED_SHARED, Reason.MARKED_SHARED})
_AGAIN = "run the same command again"
_HINTS = {
    Reason.PROTECTED: f"remove the protection (`chattr -i FILE`), then {_AGAIN}",
    Reason.NO_ROOM: f"free some space there, then {_AGAIN}",
    Reason.OPEN: f"end the programs that write to them, then {_AGAIN}",
    Reason.CHANGING: _AGAIN,
}
_ELSE = "they work as before, and this environment keeps its own copies"


def adoption_document(adoption: Adoption) -> dict[str, object]:
    """Return the JSON of one environment."""
    return {
        "path": adoption.path,
        "kind": adoption.kind,
        "python": adoption.python,
        "link_mode": adoption.link_mode,
        "distributions": adoption.distributions,
        "files": adoption.files,
        "files_shared": adoption.files_shared,
        "files_already_shared": adoption.files_already_shared,
        "files_left": [{"path": left.path, "reason": left.reason.value} for left in adoption.left],
        "bytes_shared": adoption.bytes_shared,
        "bytes_freed": adoption.bytes_freed,
        "bytes_at_most": adoption.at_most,
        "seconds": round(adoption.seconds, 3),
    }


def print_adoption(output: Output, adoption: Adoption, *, several: bool = False) -> None:
    """Print what an adoption did, in one line if it is one of *several*."""
    if several:
        _print_in_one_line(
            output, adoption, f"Adopted {{}} by {adoption.link_mode}", _balance(adoption, brief=True)
        )
        return
    what = f"{path_text(adoption.path)}{_kind(adoption)}"
    output.result(f"Adopted {what} by {adoption.link_mode} {seconds_text(adoption.seconds)}")
    already = adoption.files_already_shared
    if not already and not adoption.files_shared:
        output.result("Nothing to do: no file is left that could be shared")
    elif already and not adoption.files_shared:
        if adoption.surprises:
            output.result(f"Shared nothing: {counted(already, 'file')} are shared already")
        else:
            every = "" if adoption.edits else "all "
            output.result(f"Nothing to do: {every}{counted(already, 'file')} are shared already")
    else:
        rest = f" ({count_text(already)} more were shared already)" if already else ""
        output.result(f"Shared {counted(adoption.files_shared, 'file')}{rest}, {_balance(adoption)}")
    _print_skipped(output, adoption)


def _kind(adoption: Adoption) -> str:
    return "" if adoption.kind == VENV else f" ({adoption.kind})"


def _print_in_one_line(output: Output, adoption: Adoption, done: str, balance: str) -> None:
    name = f"{path_text(adoption.path)}{_kind(adoption)}"
    if adoption.files_shared:
        output.result(f"{done.format(name)}: {counted(adoption.files_shared, 'file')}, {balance}")
    else:
        output.result(
            f"Nothing to do: {name}, {counted(adoption.files_already_shared, 'file')} shared already"
        )
    _print_skipped(output, adoption)


def print_preview(output: Output, adoption: Adoption, *, several: bool = False) -> None:
    """Print what adopting would do, in one line if it is one of *several*."""
    freed = adoption.bytes_freed
    balance = (
        f"frees {'up to' if adoption.at_most else 'about'} {size_text(freed)}"
        if freed > 0
        else f"takes about {size_text(-freed)} (the first of its kind)"
    )
    if several:
        _print_in_one_line(output, adoption, "Would adopt {}", balance)
        return
    kind = "" if adoption.kind == VENV else f"{adoption.kind}, "
    output.result(
        f"Would adopt {path_text(adoption.path)} ({kind}Python {adoption.python},"
        f" {counted(adoption.distributions, 'distribution')}, {counted(adoption.files, 'file')})"
    )
    private = len(adoption.left)
    for verb, number, rest in (
        ("share", adoption.files_shared, balance),
        ("keep", adoption.files_already_shared, "shared already"),
        ("leave", private, "this environment's own (`--verbose` says why)"),
    ):
        if number:
            output.result(f"  {verb:<6}{count_text(number):>9} files   {rest}")
    _print_skipped(output, adoption)


def adoption_total(adoptions: Sequence[Adoption], *, dry_run: bool) -> str:
    """One line on what became, or would become, of several environments."""
    number = sum(one.files_shared for one in adoptions)
    if not number and any(one.files_already_shared for one in adoptions):
        return f"{counted(len(adoptions), 'environment')}: nothing to do, all files are shared already"
    shared = counted(number, "file")
    freed = sum(one.bytes_freed for one in adoptions)
    bound = "up to " if any(one.at_most for one in adoptions) else "about " if dry_run else ""
    verb = ("frees", "takes") if dry_run else ("freed", "took")
    return (
        f"{counted(len(adoptions), 'environment')}: {'would share' if dry_run else 'shared'} {shared},"
        f" {verb[freed < 0]} {bound}{size_text(abs(freed))}"
    )


def release_total(releases: Sequence[Released], *, dry_run: bool) -> str:
    """One line on what became, or would become, of several environments."""
    files = count_text(sum(one.files_released for one in releases))
    size = size_text(sum(one.bytes_used for one in releases))
    verb = "would get" if dry_run else "got"
    return f"{counted(len(releases), 'environment')} {verb} {files} copies of their own, {size}"


def print_uv_note(output: Output, releases: Sequence[Released]) -> None:
    """Print what releasing does not bring back: that environments share space with uv's cache."""
    copies = [one for one in releases if one.files_released and made_by_uv(one.path)]
    if copies:
        size = size_text(sum(one.bytes_used for one in copies))
        what = "environment that uv made" if len(copies) == 1 else "environments that uv made"
        output.note(
            "note", f"{count_text(len(copies))} {what}: the copies ({size}) share no space with uv's cache"
        )
        output.note("hint", "`uv sync --reinstall` (or `uv pip install --reinstall`) shares it again")


def release_document(released: Released) -> dict[str, object]:
    """Return the JSON of one environment."""
    return {
        "path": released.path,
        "python": released.python,
        "link_mode": released.link_mode,
        "distributions": released.distributions,
        "files": released.files,
        "files_released": released.files_released,
        "files_left": [{"path": left.path, "reason": left.reason.value} for left in released.left],
        "bytes_used": released.bytes_used,
        "seconds": round(released.seconds, 3),
    }


def print_release(output: Output, released: Released, *, dry_run: bool) -> None:
    """Print what a release did or would do."""
    path = path_text(released.path)
    if not released.files_released and not released.left:
        output.result(f"Nothing to release: {path} shares no file with the store")
        if released.read_only:
            count = counted(released.read_only, "module")
            output.note("note", f"{count} there cannot be written to: another store may have shared them")
            output.note(
                "hint", f"name that store with --store DIR, or if it was deleted: chmod -R u+w {path}"
            )
        return
    copies = f"{counted(released.files_released, 'private copy')}".replace("copys", "copies")
    if dry_run:
        output.result(f"Would give {path} {copies} ({size_text(released.bytes_used)})")
        return
    output.result(
        f"Released {path}: {copies}, {size_text(released.bytes_used)} {seconds_text(released.seconds)}"
    )
    if released.left:
        output.note("warning", f"{counted(len(released.left), 'file')} left shared")
        output.named(f"{left.path}: {left.reason.value}" for left in released.left)
        if any(left.reason is Reason.PROTECTED for left in released.left):
            output.note("hint", _HINTS[Reason.PROTECTED])
        else:
            output.note("hint", _AGAIN)


def _balance(adoption: Adoption, *, brief: bool = False) -> str:
    balance = "freed" if adoption.bytes_freed >= 0 else "took"
    balance += " up to" if adoption.at_most and adoption.bytes_freed else ""
    text = f"{balance} {size_text(abs(adoption.bytes_freed)) if adoption.bytes_freed else 'nothing'}"
    if adoption.files_new * 2 > adoption.files_shared and adoption.bytes_freed < 0:
        more = "" if brief else ": the next environment with these packages frees space"
        return f"{text} (the first of its kind{more})"
    return text


def _print_skipped(output: Output, adoption: Adoption) -> None:
    if lost := lost_interpreter(adoption.path):
        output.note("note", f"{path_text(adoption.path)}: {lost}")
    released = [left.path for left in adoption.left if left.reason is Reason.RELEASED]
    if released:
        names = [path.rpartition("/")[2].partition("-")[0] for path in released]
        options = " ".join(f"--dist {name}" for name in names)
        again = f"pipm adopt {options} {path_text(adoption.path)}"
        output.note("note", f"left alone, since released: {', '.join(names)}; to share again: {again}")
    if adoption.edits:
        count = counted(len(adoption.edits), "file")
        output.note("note", f"{count} not as installed: edits stay as they are")
        output.named(left.path for left in adoption.edits)
    if adoption.surprises:
        output.note("warning", f"{counted(len(adoption.surprises), 'file')} left alone")
        output.named(f"{left.path}: {left.reason.value}" for left in adoption.surprises)
        reasons = {left.reason for left in adoption.surprises}
        changed = sum(left.reason in _CHANGED for left in adoption.surprises)
        if changed:
            output.note("warning", changes_text(changed))
        if Reason.CHANGED_SHARED in reasons:
            path = path_text(adoption.path)
            output.note("hint", f"before you patch a shared package: pipm release --dist NAME {path}")
        for hint in sorted({_HINTS.get(reason, _ELSE) for reason in reasons - _CHANGED}):
            output.note("hint", hint)
    if output.verbose:
        seen = (left.reason for left in adoption.left if left.reason is not Reason.RELEASED)
        kinds = Counter(reason for reason in seen if reason.expected)
        for reason, number in kinds.most_common():
            output.note("note", f"skipped: {counted(number, 'file')}, {reason.value}")
