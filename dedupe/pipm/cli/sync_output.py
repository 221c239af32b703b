"""The output of `sync`."""

from __future__ import annotations

import os

from pipm.cli.arguments import parse_words, words_of
from pipm.cli.changed_files_output import daily_changes_below, warn_of_changes
from pipm.cli.exit_codes import DONE, FAILED, PARTLY
from pipm.cli.format_text import counted, near_text, path_text, seconds_text
from pipm.cli.named_environments import environment_folder
from pipm.cli.option_table import COMMON, SYNC, SyncArguments
from pipm.cli.streams import finish_output
from pipm.cli.terminal_progress import progress_for
from pipm.core.selection import Selection
from pipm.store.configuration import setting
from pipm.sync.open_lock import member_here, open_lock
from pipm.sync.sync import sync
from pipm.sync.sync_values import SyncOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.cli.output import Output
    from pipm.fs.link_modes import LinkMode
    from pipm.sync.sync_values import Lock, SyncResult

_MOST_SHOWN = 40


_NOT_REMEMBERED = frozenset({"lock", "environment", "python", "check", "dry_run"})
"""Arguments that do not change which files the environment gets."""


def resync(output: Output, store: str, environment: str, lock: str, words: Sequence[str]) -> None:
    """Sync *environment* with *lock* and the earlier options *words*, and print a note."""
    parsed = parse_words(["sync", *words], "sync", COMMON, SYNC, program=False)
    assert parsed is not None
    arguments = SyncArguments({**parsed[1], "lock": lock, "environment": environment})
    done = _synced(output, store, arguments, _lock_of(arguments))
    if done.pending:
        _compile_later(store)
    changes = counted(len(_changes(done)), "change")
    output.note("note", f"{path_text(lock)} changed: synced {path_text(done.path)}, {changes}")


def sync_environment(output: Output, store: str, arguments: SyncArguments) -> int:
    """Sync one environment and print the result."""
    mode = arguments.link_mode or setting("link-mode")
    arguments = SyncArguments({**vars(arguments), "link_mode": "" if mode == "auto" else mode})
    if arguments.check:
        arguments = SyncArguments({**vars(arguments), "dry_run": True})
    lock = _lock_of(arguments)
    done = _synced(output, store, arguments, lock)
    active = os.environ.get("VIRTUAL_ENV")
    # Sync removes what the lock does not name, so it does not take an environment only because it is active.
    if (
        active
        and arguments.environment == SyncArguments.environment
        and os.path.realpath(active) != os.path.realpath(done.path)
    ):
        output.note(
            "note", f"{path_text(active)} is active and stays as it is: pipm sync --env {path_text(active)}"
        )
    changed = () if done.created or arguments.dry_run else daily_changes_below(store, done.path)
    if output.json:
        output.document("sync", _document(done) | {"changed": list(changed)})
    else:
        _print(output, done, lock.path, dry_run=arguments.dry_run)
        if arguments.dry_run:
            output.note("note", f"no files changed due to --{'check' if arguments.check else 'dry-run'}")
        warn_of_changes(output, changed)
    if done.pending and not arguments.dry_run:
        finish_output()  # the user sees the result before the work goes on
        _compile_later(store)
    if arguments.check and (done.created or _changes(done)):
        return FAILED
    return PARTLY if done.stuck else DONE


def _compile_later(store: str) -> None:
    from pipm.sync.compile_later import start_compiling  # noqa: PLC0415 - few syncs leave something to compile

    start_compiling(store)


def _lock_of(arguments: SyncArguments) -> Lock:
    if arguments.lock is None and not arguments.packages and not arguments.all_packages:
        # By name, so that the repeated command means the same in every folder.
        arguments = SyncArguments({**vars(arguments), "packages": member_here()})
    selection = Selection(
        extras=tuple(arguments.extras or ()),
        groups=tuple(arguments.groups or ()),
        default_groups=not arguments.no_default_groups,
        packages=tuple(arguments.packages or ()),
        all_packages=arguments.all_packages,
    )
    words = [word for word in words_of(arguments, SYNC, _NOT_REMEMBERED) if word != "--compile"]
    return open_lock(arguments.lock, selection, words)


def _synced(output: Output, store: str, arguments: SyncArguments, lock: Lock) -> SyncResult:
    options = SyncOptions(
        link_mode=_link_mode(arguments.link_mode),
        python=arguments.python,
        compiled=arguments.compiled is not False,
        compiled_later=arguments.compiled is None,
        clobber=arguments.clobber,
        prefer_stored=arguments.prefer_stored,
        trust_adopted=arguments.trust_adopted,
        dist_info=arguments.dist_info,
        dry_run=arguments.dry_run,
    )
    return sync(store, environment_folder(arguments.environment), lock, options, progress_for(output))


def _link_mode(text: str) -> LinkMode | None:
    if not text:
        return None
    from pipm.fs.link_modes import parse_link_mode  # noqa: PLC0415 - most syncs leave it to pipm

    return parse_link_mode(text)


def _document(done: SyncResult) -> dict[str, object]:
    return {
        "environment": done.path,
        "link_mode": done.link_mode,
        "created": done.created,
        "added": [{"name": name, "version": version} for name, version in done.added],
        "replaced": [{"name": name, "version": new, "old_version": old} for name, old, new in done.replaced],
        "repaired": [{"name": name, "version": version} for name, version in done.repaired],
        "removed": [{"name": name, "version": version} for name, version in done.removed],
        "left": [{"name": name, "version": version} for name, version in done.stuck],
        "unchanged": done.unchanged,
        "fetched": done.fetched,
        "files": done.files,
        "pending_bytecode": done.pending,
        "mismatches": [
            {"wheel": one.wheel, "path": one.member, "reason": one.why} for one in done.mismatches
        ],
        "seconds": round(done.seconds, 3),
    }


def _print(output: Output, done: SyncResult, lock: str, *, dry_run: bool) -> None:
    path, source = path_text(done.path), near_text(lock)
    changes = _changes(done)
    if dry_run and (changes or done.created):
        verb = "make" if done.created else "sync"
        output.result(f"Would {verb} {path} from {source} ({counted(len(changes), 'change')})")
    elif not changes:
        output.result(
            f"Nothing to do: {path} has all {counted(done.unchanged, 'distribution')} of {source}"
            f" {seconds_text(done.seconds)}"
        )
    else:
        made = "Made" if done.created else "Synced"
        output.result(
            f"{made} {path} from {source} by {done.link_mode}, {counted(done.files, 'file')}"
            f" {seconds_text(done.seconds)}"
        )
    shown = changes if output.verbose else changes[:_MOST_SHOWN]
    for line in shown:
        output.result(f" {line}")
    if len(changes) > len(shown):
        output.result(f" … {len(changes) - len(shown)} more (`--verbose`)")
    if done.fetched:
        verb = "Would fetch" if dry_run else "Fetched"
        stored = len(done.added) + len(done.replaced) + len(done.repaired) + done.unchanged - done.fetched
        rest = f", {stored} {'was' if stored == 1 else 'were'} in the store" if stored > 0 else ""
        output.result(f"{verb} {counted(done.fetched, 'distribution')}{rest}")
    if done.pending and not dry_run:
        output.result("Bytecode is compiled in the background (`--compile` waits for it)")
    _warn(output, done)


def _changes(done: SyncResult) -> list[str]:
    """Return one line for each distribution, by name."""
    rows = [(name, f"+ {name} {version}".rstrip()) for name, version in done.added]
    rows += [(name, f"- {name} {version}") for name, version in done.removed]
    rows += [(name, f"~ {name} {version} repaired") for name, version in done.repaired]
    for name, old, new in done.replaced:
        rows.append((name, f"~ {name} {old} → {new}" if old != new else f"~ {name} {new} another build"))
    return [line for _, line in sorted(rows)]


def _warn(output: Output, done: SyncResult) -> None:
    if done.collisions:
        output.note("warning", f"{counted(len(done.collisions), 'file')} of two distributions: the later won")
        output.named(done.collisions)
    if done.mismatches:
        wheels = counted(len({one.wheel for one in done.mismatches}), "wheel")
        output.note(
            "warning", f"RECORD of {wheels} differs from the files; the lock has the archives' hashes"
        )
        output.named(f"{one.wheel}: {one.member} {one.why}" for one in done.mismatches)
    if done.copied:
        output.note(
            "warning", f"{counted(done.copied, 'file')} copied, because the file system refused the link"
        )
    if done.stuck:
        output.note(
            "warning", f"{counted(len(done.stuck), 'distribution')} left, because no RECORD lists their files"
        )
        output.named(f"{name} {version}" for name, version in done.stuck)
        output.note("hint", "remove them with the tool that installed them, or create the environment again")
