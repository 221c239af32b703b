"""Commands that go over several environments: one failing does not stop the others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dedupe.env.discover import find_environments
from dedupe.errors import InterruptedRunError, NotAnEnvironmentError, PipmError
from dedupe.fs.links import parse_link_mode
from dedupe.ops.adopt import AdoptOptions, adopt
from dedupe.ui.progress import progress_for
from dedupe.ui.sharing import adoption_document, say_adoption
from dedupe.ui.words import path_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dedupe.ui.output import Output

DONE, FAILED, PARTLY = 0, 1, 3


def adopt_environments(  # noqa: PLR0913 - the command's options
    output: Output,
    store: str,
    environments: list[str],
    below: list[str],
    *,
    link_mode: str,
    compile_missing: bool,
    dry_run: bool,
) -> int:
    """Adopt each environment that is named or lies below a named folder."""
    options = AdoptOptions(link_mode=parse_link_mode(link_mode), compile_missing=compile_missing)
    documents: list[dict[str, object]] = []
    surprised = False

    def one(path: str) -> None:
        nonlocal surprised
        adoption = adopt(store, path, options, progress_for(output))
        documents.append(adoption_document(adoption))
        surprised = surprised or bool(adoption.surprises)
        say_adoption(output, adoption)

    code = _each(output, _named(environments, below, store), one)
    if output.json and (documents or code == DONE):
        output.document("adopt", {"environments": documents})
    return PARTLY if code == DONE and surprised else code


def _named(environments: list[str], below: list[str], store: str) -> list[str]:
    """The environments that were asked for, each once."""
    found = list(environments)
    for folder in below:
        if not os.path.isdir(folder):
            raise NotAnEnvironmentError(f"There is no folder {folder}", hint="name an existing folder")
        found += find_environments(os.path.realpath(folder), leave_out=store)
    if not environments and not below:
        found = [".venv"]
    return list({os.path.realpath(path): path for path in found}.values())


def _each(output: Output, paths: Iterable[str], one: Callable[[str], None]) -> int:
    """Run *one* for each path; an error is told and the next one goes on, but for an interruption."""
    failed = done = 0
    for path in paths:
        try:
            one(path)
        except InterruptedRunError:
            raise
        except PipmError as error:
            failed += 1
            output.error(error)
            if error.exit_code != FAILED:
                return error.exit_code
        else:
            done += 1
    if failed:
        return PARTLY if done else FAILED
    return DONE


def shown(path: str) -> str:
    """How a path is told."""
    return path_text(path)
