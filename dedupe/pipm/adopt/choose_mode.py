"""Adopting by the best possible link mode: reflink, hardlink, or the finder if links are impossible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipm.adopt.adopt import adopt, adopt_together
from pipm.context.environment_lock import checked_environment, locked_environment
from pipm.env.environment import load_environment, require_venv
from pipm.env.receipt import receipt_at
from pipm.errors import LinkingImpossibleError, PipmError, UsageError
from pipm.fs.free_space import file_system_type
from pipm.fs.link_modes import LinkMode
from pipm.fs.opened import opened_folder
from pipm.fs.os_errors import explain_os_error
from pipm.store.layout import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.share.adoption import Adoption, AdoptOptions

    Outcome = Adoption | PipmError


def adopt_by_best_mode(
    store_path: str, paths: Sequence[str], options: AdoptOptions, progress: Progress
) -> dict[str, Outcome]:
    """Adopt several environments; return for each path the adoption, or the error that prevented it.

    An environment that has the finder keeps it.
    """
    if options.dist_info is False and options.link_mode is not LinkMode.FINDER:
        raise UsageError(
            "Only the finder lists distributions without their *.dist-info folders",
            hint="add --link-mode finder, or leave --no-dist-info out",
        )
    by_finder = [path for path in paths if options.link_mode is LinkMode.FINDER or receipt_at(path)]
    others = [path for path in paths if path not in by_finder]
    outcomes = adopt_together(store_path, others, options, progress) if others else {}
    for path, outcome in list(outcomes.items()):
        if (
            isinstance(outcome, LinkingImpossibleError)
            and options.link_mode is None
            and _may_have_finder(path)
        ):
            progress.note(f"no file of {path} can be linked to the store {store_path}: using the finder")
            by_finder.append(path)
    for path in by_finder:
        try:
            outcomes[path] = adopt_by_finder(store_path, path, options, progress)
        except PipmError as error:
            if error.exit_code != PipmError.exit_code:
                raise
            outcomes[path] = error
    return outcomes


def _may_have_finder(path: str) -> bool:
    """Return True if *path* is a venv, and on no overlay: removing a file of a lower layer frees nothing."""
    environment = load_environment(path)
    return environment.is_venv and file_system_type(environment.path) != "overlay"


def adopt_by_finder(store_path: str, path: str, options: AdoptOptions, progress: Progress) -> Adoption:
    """Make the environment at *path* import its modules from the store; raise PipmError if that fails."""
    from pipm.finder.enable import enable_finder  # noqa: PLC0415 - links need none of it
    from pipm.finder.environment_state import refuse_symlink  # noqa: PLC0415 - likewise

    if options.link_mode not in (None, LinkMode.FINDER):
        raise UsageError(
            f"{path} imports its modules from the store by the finder",
            hint=f"`pipm release {path}` gives it its own files again; then adopt it by another link mode",
        )
    environment = checked_environment(store_path, path)
    require_venv(environment, "The finder")
    with opened_folder(environment.path) as root:
        refuse_symlink(root)
    adoption = adopt(store_path, path, replace(options, link_mode=LinkMode.SYMLINK), progress)
    store = open_store(store_path)
    assert store is not None
    try:
        with locked_environment(store, environment, progress) as root:
            enable_finder(store, environment, root, dist_info=options.dist_info)
    except OSError as error:
        raise explain_os_error(error, f"adopt {path}") from error
    finally:
        progress.done()
    return replace(adoption, link_mode=LinkMode.FINDER.value)
