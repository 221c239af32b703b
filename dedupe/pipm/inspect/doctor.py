"""`pipm doctor`: checking everything that pipm depends on, with a remedy for each problem."""

from __future__ import annotations

import os
import platform
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.context.liveness import environment_fate
from pipm.core.environment_variables import VARIABLES
from pipm.core.plan.gc_plan import Fate
from pipm.errors import PipmError
from pipm.fs.flock import lock_refusal, lock_timeout, try_lock
from pipm.inspect.hook_check import hook_faults
from pipm.inspect.probe_links import LinkProbe, probe_links
from pipm.store.layout import open_folders, open_store
from pipm.store.roots import all_roots
from pipm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.store.layout import Store
    from pipm.store.roots import Root

_LITTLE_SPACE = 256 << 20
_FEW_INODES = 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """The result of one check; if it is not ``ok`` it is an error or a ``warning``.

    ``hint`` is the remedy, a command if there is one.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""
    warning: bool = False

    @property
    def is_error(self) -> bool:
        """Return whether something does not work."""
        return not self.ok and not self.warning


def diagnose(store_path: str) -> list[Diagnosis]:
    """Run all checks; they write only temporary files."""
    checks = [*_versions(), *_command(), *_variables(), *_permissions(store_path)]
    try:
        store = open_store(store_path, create=False)
    except PipmError as error:
        return [*checks, _failed("store", error)]
    if store is None:
        detail = f"there is none at {store_path}; `pipm adopt ENV` makes it; if it was moved: --store DIR"
        return [*checks, Diagnosis(name="store", ok=True, detail=detail)]
    checks += [Diagnosis(name="store", ok=True, detail=store_path), _lock(store), *_leftovers(store)]
    try:
        return [*checks, *_of_roots(store, list(all_roots(store)))]
    except PipmError as error:
        return [*checks, _failed("roots", error)]


def _of_roots(store: Store, roots: list[Root]) -> list[Diagnosis]:
    """Check the environments that the store knows, and whether links work there."""
    device = os.fstat(store.objects).st_dev
    fates = {root.path: environment_fate(root, store.path, device)[0] for root in roots}
    alive = [root for root in roots if fates[root.path] is Fate.ALIVE]
    probes = probe_links(store, [root.path for root in alive])
    return [
        *_roots(roots, fates),
        *(check for probe in probes for check in _links(probe)),
        *_hooks(store, alive),
    ]


def _failed(name: str, error: PipmError) -> Diagnosis:
    return Diagnosis(name=name, ok=False, detail=error.message, hint=error.hint or "")


def _warning(name: str, detail: str, *, hint: str) -> Diagnosis:
    return Diagnosis(name=name, ok=False, warning=True, detail=detail, hint=hint)


def _versions() -> Iterator[Diagnosis]:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Diagnosis(
        name="versions",
        ok=True,
        detail=f"pipm {__version__}, {python}, {platform.system()} {platform.release()}",
    )
    if sys.platform not in ("linux", "darwin"):
        yield Diagnosis(
            name="platform", ok=False, detail=f"{sys.platform} is not supported", hint="use Linux"
        )


def _command() -> Iterator[Diagnosis]:
    """Check which pipm a shell finds."""
    folders = dict.fromkeys(filter(None, os.environ.get("PATH", "").split(os.pathsep)))
    found = {
        os.path.realpath(f"{folder}/pipm"): f"{folder}/pipm"
        for folder in folders
        if os.access(f"{folder}/pipm", os.X_OK)
    }
    if not found:
        own = os.path.dirname(sys.executable)
        yield _warning(
            "PATH",
            "pipm is in no folder of PATH",
            hint=f'export PATH="{own}:$PATH"' if os.path.exists(f"{own}/pipm") else "pipx ensurepath",
        )
    elif len(found) > 1:
        first, *others = found.values()
        yield _warning(
            "PATH",
            f"{first} comes before {', '.join(others)}",
            hint="uninstall the one that you do not use",
        )
    else:
        yield Diagnosis(name="PATH", ok=True, detail=next(iter(found.values())))


def _variables() -> Iterator[Diagnosis]:
    wrong = dict(_wrong_variables())
    for name, (detail, hint) in wrong.items():
        yield Diagnosis(name=name, ok=False, warning=name != "PIPM_LOCK_TIMEOUT", detail=detail, hint=hint)
    if not wrong:
        names = sorted(name for name in os.environ if name.startswith("PIPM_"))
        yield Diagnosis(name="variables", ok=True, detail=", ".join(names) or "none set")


def _wrong_variables() -> Iterator[tuple[str, tuple[str, str]]]:
    for name in sorted(os.environ):
        if name.startswith("PIPM_") and name not in VARIABLES:
            yield name, ("pipm does not know this variable", f"unset {name}")
    for name in ("PIPM_STORE", "XDG_DATA_HOME"):
        if not os.path.isabs(os.path.expanduser(os.environ.get(name) or "/")):
            yield (
                name,
                (
                    f"{os.environ[name]} is a relative path, so the store depends on the current folder",
                    f"export {name}=/…",
                ),
            )
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        yield (
            "PYTHONDONTWRITEBYTECODE",
            (
                "is set, so Python compiles modules without bytecode at each start",
                "unset PYTHONDONTWRITEBYTECODE",
            ),
        )
    try:
        lock_timeout()
    except PipmError as error:
        yield "PIPM_LOCK_TIMEOUT", (error.message, error.hint or "")


def _permissions(store_path: str) -> Iterator[Diagnosis]:
    """Check who can read the store."""
    try:
        status = os.stat(store_path)
    except OSError:
        return
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == os.geteuid() and mode & 0o077:
        yield _warning(
            "permissions",
            f"other users can read the store {store_path} (mode {mode:o})",
            hint=f"chmod 700 {store_path}",
        )
    for path in open_folders(store_path):
        yield Diagnosis(
            name="permissions",
            ok=False,
            detail=f"{path} belongs to another user, or others can write to it",
            hint=f"chmod -R go-w {store_path}; pipm verify --full",
        )


def _lock(store: Store) -> Diagnosis:
    path = f"{store.path}/lock"
    refusal = lock_refusal(path)
    if refusal:
        return Diagnosis(
            name="lock",
            ok=False,
            detail=f"{path}: {refusal}",
            hint="keep the store on a local disk: export PIPM_STORE=/…",
        )
    return Diagnosis(name="lock", ok=True, detail="flock works")


def _leftovers(store: Store) -> Iterator[Diagnosis]:
    """Check for files that killed runs left in the store."""
    dead = []
    for name in os.listdir(store.tmp):
        try:
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=store.tmp)
        except OSError:
            continue
        try:
            if try_lock(folder):
                dead.append(name)
        finally:
            os.close(folder)
    if dead:
        yield _warning(
            "temporaries",
            f"{store.path} has temporary folders of killed runs: {len(dead)}",
            hint="pipm gc",
        )
    else:
        yield Diagnosis(name="temporaries", ok=True, detail="none left behind")


def _roots(roots: list[Root], fates: dict[str, Fate]) -> Iterator[Diagnosis]:
    words = {
        Fate.GONE: ("was deleted or moved", "pipm gc --missing"),
        Fate.REPLACED: ("is another environment now", "pipm adopt {}"),
        Fate.UNREACHABLE: (
            "cannot be reached; the store keeps its packages",
            "mount its disk, or pipm gc --forget {}",
        ),
    }
    odd = [root for root in roots if fates[root.path] in words]
    for root in odd:
        detail, hint = words[fates[root.path]]
        yield _warning(
            "environment",
            f"{root.path} {detail}",
            hint=hint.format(root.path),
        )
    if not odd:
        yield Diagnosis(name="environments", ok=True, detail=f"{len(roots)} known, all exist")


def _links(probe: LinkProbe) -> Iterator[Diagnosis]:
    name = f"links to {probe.mount}"
    works = [mode for mode, refusal in probe.modes.items() if not refusal]
    refused = [f"{mode} does not ({refusal})" for mode, refusal in probe.modes.items() if refusal]
    kind = probe.kind or "unknown type"
    detail = "; ".join(
        [f"{kind}: {', '.join(works) or 'nothing'} {'work' if len(works) > 1 else 'works'}", *refused]
    )
    sharing = [mode for mode in works if mode in ("reflink", "hardlink")]
    if not sharing:
        yield Diagnosis(name=name, ok=False, detail=detail, hint=probe.hint)
    elif probe.kind == "overlay":
        yield _warning(
            name,
            f"{detail}; sharing a file of a lower layer copies it first",
            hint="pipm adopt --link-mode hardlink ENV, in the layer that made it",
        )
    else:
        yield Diagnosis(name=name, ok=True, detail=detail)
    yield _space(probe)


def _space(probe: LinkProbe) -> Diagnosis:
    name = f"space on {probe.mount}"
    inodes = "" if probe.inodes is None else f" and {probe.inodes:,} inodes".replace(",", " ")
    detail = f"{probe.free / 2**30:.1f} GiB{inodes} free"
    if probe.free < _LITTLE_SPACE:
        return _warning(name, detail, hint="pipm gc --keep 0")
    if probe.inodes is not None and probe.inodes < _FEW_INODES:
        return _warning(name, detail, hint="pipm adopt --link-mode hardlink ENV")
    return Diagnosis(name=name, ok=True, detail=detail)


def _hooks(store: Store, roots: list[Root]) -> Iterator[Diagnosis]:
    faults = [fault for root in roots for fault in hook_faults(root.path, store.path)]
    for fault in faults:
        yield Diagnosis(name="hook", ok=False, warning=not fault.broken, detail=fault.detail, hint=fault.hint)
    if not faults:
        yield Diagnosis(name="hooks", ok=True, detail="as they should be")
