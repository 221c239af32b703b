"""`pipm report`: one HTML page without external files; its parts lie in ``page/``."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from typing import TYPE_CHECKING

from pipm.cli.format_text import counted, path_text
from pipm.core.size_text import size_text
from pipm.errors import FileSystemError, UsageError
from pipm.fs.durability import write_file
from pipm.inspect.report import full_report
from pipm.version import __version__

if TYPE_CHECKING:
    from pipm.cli.output import Output
    from pipm.inspect.report import FullReport, Mapped

_PAGE = os.path.join(os.path.dirname(__file__), "page")


def make_report(
    output: Output, store: str, folder: str | None, target: str, *, exclude: list[str], exact: bool
) -> int:
    """Run `pipm report`; *target* ``-`` is standard output."""
    if not target or target.endswith(os.sep) or os.path.isdir(target):
        raise UsageError(f"{target or 'nothing'} is not a file name", hint="pipm report -o report.html")
    found = full_report(store, folder, exclude, exact=exact)
    if not found.environments and target != "-":
        if output.json:
            output.document("report", {"path": None, "environments": 0})
        else:
            output.result("No environments, so nothing was written")
            output.note("hint", "`pipm report DIR` looks for those below a folder")
        return 0
    page = page_of(document_of(found, time.time()))
    if target == "-":
        output.data(page)
        return 0
    try:
        write_file(target, page.encode("utf-8"))
    except OSError as error:
        raise FileSystemError(
            f"Cannot write {target}: {error.strerror}",
            hint="name another file, on another disk if this one is full: pipm report -o FILE",
        ) from error
    if output.json:
        output.document("report", {"path": os.path.abspath(target), "environments": len(found.environments)})
        return 0
    output.result(
        f"Wrote {path_text(os.path.abspath(target))}: {counted(len(found.environments), 'environment')},"
        f" {size_text(len(page))}"
    )
    return 0


def document_of(found: FullReport, now: float) -> dict[str, object]:
    """Return the page's data, with the figures of df and list."""
    report = found.report
    of_store = report.store
    numbers = {entry.entry: number for number, entry in enumerate(found.entries)}
    on_disk = 0 if of_store is None else of_store.usage.on_disk
    exclusive = sum(one.usage.usage.exclusive for one in found.environments)
    return {
        "version": __version__,
        "generated": round(now),
        "oldest": report.oldest or now,
        "folder": found.folder,
        "saved": report.saved,
        "total": exclusive + on_disk + (0 if found.folder else report.outside),
        "store": {
            "path": "" if of_store is None else path_text(of_store.path),
            "on_disk": on_disk,
            "reclaimable": 0 if of_store is None else of_store.reclaimable,
        },
        "entries": [
            (one.name, one.version, one.on_disk, int(one.condemned), one.elsewhere) for one in found.entries
        ],
        "environments": [_environment(one, numbers) for one in found.environments],
    }


def _environment(one: Mapped, numbers: dict[str, int]) -> dict[str, object]:
    usage = one.usage
    own = sum(size for _, size in one.parts)
    return {
        "path": path_text(usage.path),
        "kind": usage.kind,
        "state": usage.state,
        "note": usage.note,
        "python": usage.python,
        "distributions": usage.distributions,
        "apparent": usage.usage.apparent,
        "on_disk": usage.usage.on_disk,
        "exclusive": usage.usage.exclusive,
        "about": usage.usage.about,
        "used": round(usage.last_used),
        "adopting": usage.adoptable,
        "entries": [numbers[entry] for entry in usage.entries if entry in numbers],
        "parts": one.parts,
        "rest": max(usage.usage.on_disk - own, 0) if one.parts else usage.usage.exclusive,
    }


def page_of(document: dict[str, object]) -> str:
    """Assemble the page; its content security policy allows only its own style and script, by digest."""
    style, script = _read("report.css"), _read("report.js")
    # In a script element only "<" can end the data early.
    data = json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")
    page = _read("report.html")
    for name, text in (
        ("%STYLE_HASH%", _digest(style)),
        ("%SCRIPT_HASH%", _digest(script)),
        ("%STYLE%", style),
        ("%SCRIPT%", script),
        ("%DATA%", data),  # last, because a path may contain the other placeholders
    ):
        page = page.replace(name, text, 1)
    return page


def _read(name: str) -> str:
    with open(os.path.join(_PAGE, name), encoding="utf-8") as stream:
        return stream.read()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
