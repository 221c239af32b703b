"""Looking at all of an environment: whether it is exactly what its last sync made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dedupe.core.blueprint import placed, without_modules
from dedupe.env.folded import FOLDER, read_hidden, read_receipt
from dedupe.fs.beneath import directory_beneath
from dedupe.ops.folding.placing import interpreter_of, is_in_place
from dedupe.ops.syncing.evidence import LINKED, is_settled, look
from dedupe.ops.syncing.standing import Survey
from dedupe.wheel.blueprints import load_blueprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dedupe.core.blueprint import Blueprint
    from dedupe.core.scheme import Scheme
    from dedupe.env.environment import Environment
    from dedupe.env.interpreter import Interpreter
    from dedupe.ops.syncing.evidence import Evidence
    from dedupe.store.layout import Store
    from dedupe.store.roots import Root

_OWN = ("RECORD", "INSTALLER", "REQUESTED")


def is_exact(
    store: Store,
    environment: Environment,
    root: int,
    known: Root,
    scheme: Scheme,
    interpreter: Interpreter | None,
    evidence: Evidence,
) -> bool:
    """Whether the environment open as *root* has what *known* says, whole, and nothing else.

    What was seen of it becomes *evidence*, where that is possible.
    """
    receipt = read_receipt(root)
    if receipt is not None and not is_in_place(store, root, interpreter_of(environment)):
        return False
    hidden = {} if receipt is None else read_hidden(root)
    served = frozenset() if receipt is None else {row.entry for row in receipt.folded.values()}
    blueprints = {entry: _load(store, entry, served=entry in served) for entry in known.entries}
    paths = paths_of(root, blueprints.values(), scheme, hidden=bool(hidden))
    times = look(root, paths) if known.link_mode in LINKED else None
    survey = Survey(store, root, environment, scheme, interpreter, hidden)
    if not survey.is_exactly(blueprints):
        return False
    if survey.linked and times is not None and is_settled(times):
        evidence.note(times)
    return True


def _load(store: Store, entry: str, *, served: bool) -> Blueprint:
    """The blueprint of *entry*: what the finder serves has no modules in the environment."""
    whole = load_blueprint(store, entry, modules=not served)
    return without_modules(whole) if served else whole


def paths_of(root: int, blueprints: Iterable[Blueprint], scheme: Scheme, *, hidden: bool) -> list[str]:
    """All folders that *blueprints* fill in the environment open as *root*, and the files that no link is.

    *hidden*: the metadata folders of what the finder serves were put away.
    """
    found = dict.fromkeys(["pyvenv.cfg", f"{scheme.site}/", *_listed(root, "bin"), *_listed(root, FOLDER)])
    for one in blueprints:
        found.update(dict.fromkeys(_paths(one, scheme, hidden=hidden and not one.folders)))
    return list(found)


def _paths(one: Blueprint, scheme: Scheme, *, hidden: bool) -> Iterator[str]:
    site = scheme.site
    for folder in (*one.folders, *(() if hidden else one.described)):
        path = f"{site}/{folder.path}" if folder.path else site
        yield f"{path}/"
        if scheme.cache_tag and folder.sources:
            yield f"{path}/__pycache__/"
        yield from (f"{path}/{name}" for name, _ in folder.empty)
    if not hidden:
        # The finder's are copies where no link is possible.
        names = _OWN if one.folders else (*_OWN, *one.described[0].names)
        yield from (f"{site}/{one.metadata}/{name}" for name in names)
    yield from (f"{site}/{name}" for name, _ in one.copies)
    for other in one.others:
        if other.scheme != "scripts":  # those are in bin
            yield placed(other, one.name, scheme)


def _listed(root: int, path: str) -> Iterator[str]:
    """A folder and what lies in it, which is not one blueprint's alone."""
    with directory_beneath(root, path) as folder:
        if folder is not None:
            yield f"{path}/"
            with os.scandir(folder) as entries:
                yield from sorted(f"{path}/{entry.name}{'/' * entry.is_dir()}" for entry in entries)
