"""The output of `verify`: each damaged file, the environments that share it, and a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.cli.format_text import count_text, counted, missing_store_text, path_text, printable, seconds_text
from pipm.cli.named_environments import existing_environment
from pipm.cli.terminal_progress import progress_for
from pipm.core.size_text import size_text
from pipm.verify.verify import verify

if TYPE_CHECKING:
    from pipm.cli.output import Output
    from pipm.verify.check_store import Damage, Findings
    from pipm.verify.rebuild import Rebuilt

_MOST_ENVIRONMENTS = 5


def verify_store(
    output: Output, store: str, environments: list[str], *, full: bool, repair: bool, anew: bool
) -> int:
    """Run `pipm verify`; return 1 if damage remains."""
    progress = progress_for(output)
    named = [existing_environment(text) for text in environments]
    findings, rebuilt = verify(store, named, progress, full=full, repair=repair, anew=anew)
    if output.json:
        output.document("verify", _document(findings, rebuilt))
    elif missing := missing_store_text(store):
        output.result("Nothing to verify")
        output.note("note", missing)
    else:
        _print(output, findings, rebuilt, full=full, repair=repair)
    return 1 if findings.remaining else 0


def _document(findings: Findings, rebuilt: Rebuilt | None) -> dict[str, object]:
    document: dict[str, object] = {
        "checked": findings.checked,
        "damaged": [
            {
                "path": damage.path,
                "entry": damage.entry or None,
                "environments": damage.environments,
                "flaw": damage.flaw.value,
                "repaired": damage.repaired,
                "kept_in": damage.kept_in or None,
                "saved": damage.saved or None,
            }
            for damage in findings.damages
        ],
        "repaired": sum(damage.repaired for damage in findings.damages),
        "modified": findings.modified,
        "unexpected": findings.unexpected,
        "duplicates": [file.shown for file in findings.duplicates],
        "put_aside": findings.put_aside,
        "unreadable": findings.unreadable,
        "not_run": findings.not_run,
        "not_mounted": findings.not_mounted,
        "seconds": round(findings.seconds, 3),
    }
    if rebuilt is not None:
        document["rebuilt"] = {
            "manifests": rebuilt.manifests,
            "objects": rebuilt.objects,
            "wheels": rebuilt.wheels,
            "roots": rebuilt.roots,
        }
    return document


def _print(output: Output, findings: Findings, rebuilt: Rebuilt | None, *, full: bool, repair: bool) -> None:
    if rebuilt is not None:
        output.result(
            f"Rebuilt {counted(rebuilt.manifests, 'manifest')}, {counted(rebuilt.objects, 'object')},"
            f" {counted(rebuilt.wheels, 'known wheel')}, {counted(len(rebuilt.roots), 'environment')}"
        )
    for damage in findings.damages:
        _print_damage(output, damage)
    for entry in findings.unreadable:
        output.result(f"{entry} has no readable manifest")
    for text in findings.not_mounted:
        output.result(printable(text))
    checked, seconds = count_text(findings.checked), seconds_text(findings.seconds)
    damaged = len(findings.damages) + len(findings.unreadable)
    repaired = sum(damage.repaired for damage in findings.damages)
    if not damaged:
        how = "" if full else ", by times and sizes (--full reads all bytes)"
        output.result(f"All {checked} files are sound{how} {seconds}")
    elif repaired:
        output.result(f"Repaired {count_text(repaired)} of {counted(damaged, 'damaged file')} {seconds}")
    else:
        verb = "is" if damaged == 1 else "are"
        output.result(f"{count_text(damaged)} of {checked} files {verb} damaged {seconds}")
    _print_notes(output, findings, repair=repair)
    _hint(output, findings, full=full, repair=repair)


def _print_notes(output: Output, findings: Findings, *, repair: bool) -> None:
    if findings.modified:
        where = "its environment" if len(findings.modified) == 1 else "their environments"
        output.note("note", f"{counted(len(findings.modified), 'file')} edited in {where}, not shared")
        output.named(path_text(path) for path in findings.modified)
    for reason in findings.not_run:
        output.note("note", printable(reason))
    if findings.unexpected:
        count = counted(len(findings.unexpected), "file")
        output.note("note", f"{count} left by programs among the store's files; `pipm gc` removes them")
        output.named(path_text(path) for path in findings.unexpected)
    if findings.put_aside:
        count = counted(len(findings.put_aside), "file")
        output.note("note", f"{count} that programs left among the store's files were moved away")
        output.named(path_text(path) for path in findings.put_aside)
    if findings.duplicates:
        count = counted(len(findings.duplicates), "file")
        size = size_text(sum(file.expected.size or 0 for file in findings.duplicates))
        if repair:
            output.note("note", f"linked {count} ({size}) again that the store had twice")
        else:
            output.note("note", f"the store has {count} ({size}) twice, as after a copy without hard links")
            output.note("hint", "pipm verify --repair links them again")


def _print_damage(output: Output, damage: Damage) -> None:
    release = " ".join(damage.entry.split("/")[:2])
    path = damage.path.removeprefix("site/") if damage.entry else path_text(damage.path)
    shared = len(damage.environments)
    users = f", shared by {counted(shared, 'environment')}" if damage.entry and shared else ""
    output.result(f"{path}{f' ({release})' if release else ''} {damage.flaw.value}{users}")
    if damage.entry and shared:
        shown = ", ".join(path_text(path) for path in damage.environments[:_MOST_ENVIRONMENTS])
        output.result(f"  {shown}{', …' if shared > _MOST_ENVIRONMENTS else ''}")
    if damage.kept_in:
        output.result(f"  the edited version stays in {path_text(damage.kept_in)}, private")
    if damage.saved:
        output.result(f"  the changed version is {path_text(damage.saved)} now")


def _hint(output: Output, findings: Findings, *, full: bool, repair: bool) -> None:
    if not findings.remaining:
        return
    if findings.unreadable:
        output.note("hint", "pipm verify --rebuild")
    elif findings.not_mounted:
        output.note("hint", "mount it there, or `pipm sync` to have its files in the store")
    elif repair:
        output.note("hint", "no clean copy was found; reinstall these distributions, then adopt again")
    else:
        command = "pipm verify --full --repair" if full else "pipm verify --repair"
        output.note("hint", f"{command} takes a clean copy from anywhere")
        output.note("hint", "before you patch a shared package: pipm release --dist NAME")
