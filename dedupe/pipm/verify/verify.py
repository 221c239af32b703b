"""`pipm verify`: check the store; rebuild and repair it on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.env.environment import load_environment
from pipm.fs.leftovers import remove_torn_writes
from pipm.fs.os_errors import explain_os_error
from pipm.store.layout import open_store
from pipm.store.roots import ORIGINALS
from pipm.verify.check_store import Findings, StoreCheck
from pipm.verify.rebuild import rebuild
from pipm.verify.repair import Repair
from pipm.verify.sharing_environments import known_environments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.env.environment import Environment
    from pipm.verify.rebuild import Rebuilt


def verify(
    store_path: str,
    paths: Sequence[str],
    progress: Progress,
    *,
    full: bool = False,
    repair: bool = False,
    anew: bool = False,
) -> tuple[Findings, Rebuilt | None]:
    """Check the store at *store_path* and the environments at *paths* (by default all that the store knows).

    *anew* first rebuilds what the store lost; *repair* repairs damage. Raises PipmError.
    """
    store = open_store(store_path, create=False)
    named = [load_environment(path) for path in paths]
    if store is None:
        return Findings(), None

    changing = repair or anew
    try:
        with store.alone() if changing else store.writing():
            rebuilt = rebuild(store, [environment.path for environment in named]) if anew else None
            known = known_environments(store)
            check = StoreCheck(
                store,
                named or known,
                progress,
                full=full,
                only=bool(named) and not anew,
                others=_unnamed(named, known),
            )
            findings = check.run()
            if repair and (findings.damages or findings.unexpected or findings.duplicates):
                with store.run() as (run, run_path):
                    Repair(check, run, run_path).run()
            if changing:
                store.sweep()  # the folder of an earlier run that was killed just before it swept
                remove_torn_writes(store.v1, ("roots", ORIGINALS, "by-wheel"))
    except OSError as error:
        raise explain_os_error(error, f"verify {store_path}") from error
    finally:
        progress.done()
    return findings, rebuilt


def _unnamed(named: list[Environment], known: list[Environment]) -> list[Environment]:
    """Return the *known* environments that are not *named*: they may share the damaged files."""
    paths = {environment.path for environment in named}
    return [environment for environment in known if named and environment.path not in paths]
