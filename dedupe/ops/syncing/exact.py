"""Looking at all of an environment: whether it is exactly what its last sync made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dedupe.core.blueprint import without_modules
from dedupe.env.folded import read_hidden, read_receipt
from dedupe.ops.folding.placing import interpreter_of, is_in_place
from dedupe.ops.syncing.evidence import LINKED, is_settled, look, paths_of
from dedupe.ops.syncing.standing import Survey
from dedupe.wheel.blueprints import load_blueprint

if TYPE_CHECKING:
    from dedupe.core.blueprint import Blueprint
    from dedupe.core.scheme import Scheme
    from dedupe.env.environment import Environment
    from dedupe.env.interpreter import Interpreter
    from dedupe.ops.syncing.evidence import Evidence
    from dedupe.store.layout import Store
    from dedupe.store.roots import Root


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
