"""Looking at all of an environment: whether it is exactly what its last sync made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.core.import_names import PATH_FILE
from pipm.core.install_plan import placed, without_modules
from pipm.env.receipt import FOLDER, read_hidden, read_receipt
from pipm.finder.install_hook import interpreter_of, is_in_place
from pipm.fs.beneath import directory_beneath
from pipm.sync.change_cache import BIN, COMMON, look
from pipm.sync.installed_state import Survey
from pipm.wheel.stored_install_plans import load_blueprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipm.core.install_plan import Blueprint
    from pipm.core.scheme import Scheme
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store
    from pipm.store.roots import Root
    from pipm.sync.change_cache import Evidence, Seen, Times

_OURS = PATH_FILE.removesuffix(".pth")
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

    What did not change is believed; what was seen becomes *evidence*, where that is possible.
    """
    receipt = read_receipt(root)
    if receipt is not None and not is_in_place(store, root, interpreter_of(environment)):
        return False
    hidden = {} if receipt is None else read_hidden(root)
    served = frozenset() if receipt is None else {row.entry for row in receipt.folded.values()}
    blueprints = {entry: _load(store, entry, served=entry in served) for entry in known.entries}
    survey = Survey(store, root, environment, scheme, interpreter, hidden)
    return looks_exact(survey, blueprints, evidence.before, evidence, {})


def looks_exact(
    survey: Survey,
    blueprints: Mapping[str, Blueprint],
    before: Seen,
    evidence: Evidence,
    known: Times,
) -> bool:
    """The same for an environment of *blueprints*, by entry; what is as it was *before* is believed.

    Times that are *known* are not asked for.
    """
    if not evidence.is_kept:
        return survey.is_exactly(blueprints)
    groups = groups_of(survey.root, blueprints, survey.scheme, hidden=bool(survey.hidden))
    seen = look(survey.root, groups, known)
    survey.untouched = seen.untouched_since(before)
    if not survey.is_exactly(blueprints):
        return False
    if survey.linked:
        evidence.note(seen)
    return True


def _load(store: Store, entry: str, *, served: bool) -> Blueprint:
    """The blueprint of *entry*: what the finder serves has no modules in the environment."""
    whole = load_blueprint(store, entry, modules=not served)
    return without_modules(whole) if served else whole


def groups_of(
    root: int, blueprints: Mapping[str, Blueprint], scheme: Scheme, *, hidden: bool
) -> dict[str, list[str]]:
    """All folders that *blueprints* fill in the environment open as *root*, and the files that no link is.

    *hidden*: the metadata folders of what the finder serves were put away.
    """
    common = ["pyvenv.cfg", f"{scheme.site}/", *_listed(root, FOLDER)]
    common += [path for path in _listed(root, scheme.site) if path.startswith(f"{scheme.site}/{_OURS}")]
    groups = {COMMON: common, BIN: list(_listed(root, BIN))}
    for entry, one in blueprints.items():
        groups[entry] = list(_paths(one, scheme, hidden=hidden and not one.folders))
    return groups


def _paths(one: Blueprint, scheme: Scheme, *, hidden: bool) -> Iterator[str]:
    site = scheme.site
    for folder in (*one.folders, *(() if hidden else one.described)):
        path = f"{site}/{folder.path}" if folder.path else site
        if folder.names or folder.empty:  # else it is there with what lies in it, and others' may come beside
            yield f"{path}/"
        if scheme.cache_tag and folder.sources:
            yield f"{path}/__pycache__/"
        yield from (f"{path}/{name}" for name, _, _ in folder.empty)
    if not hidden:
        # The finder's are copies where no link is possible.
        names = _OWN if one.folders else (*_OWN, *one.described[0].names)
        yield from (f"{site}/{one.metadata}/{name}" for name in names)
    yield from (f"{site}/{name}" for name, _, _ in one.copies)
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
