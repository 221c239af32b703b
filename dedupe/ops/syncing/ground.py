"""What a sync works with: an environment that is held, a store, and how files get there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dedupe.core.scheme import Scheme
    from dedupe.env.interpreter import Interpreter
    from dedupe.fs.fill import Filler
    from dedupe.ops.crew import Pulse
    from dedupe.ops.progress import Progress
    from dedupe.store.layout import Store


class Ground(NamedTuple):
    """``root`` is the environment's open folder at ``path``, ``run`` this run's private folder in the store.

    ``interpreter`` is None where no bytecode is wanted, or none can be kept.
    """

    store: Store
    root: int
    path: str
    run: int
    run_path: str
    scheme: Scheme
    interpreter: Interpreter | None
    filler: Filler
    pulse: Pulse
    progress: Progress
