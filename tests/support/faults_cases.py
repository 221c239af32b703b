"""The commands for `faults`, each with its small initial state."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.locks import pylock
from support.pipm import Pipm
from support.process import run
from support.snapshot import walk
from support.store import object_names
from support.synthetic import Environment, install, make_environment, make_wheel, package

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MODULES = 2
_SMALL = 900
"""Bytes of one of the files of a synthetic package."""
_PROGRAM = "[console_scripts]\n{0} = {0}:NAME.strip\n"
_ALPHA = "import alpha, alpha.module_1, alpha.sub.module_0"
_REPLACED = f"{_ALPHA}, beta; from importlib.metadata import version; assert version('alpha') in '1.0 2.0'"
_OLD, _NEW = ("alpha==1.0", "beta==1.0"), ("alpha==2.0", "beta==1.0", "come==1.0")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, the state before it, and the trees in which nothing may get lost.

    *code* must run in ``first`` after it, and with *lives* at any moment. *appears* begins the names that
    a command which did not finish may leave until it runs again. Each folder of the distribution *replaced*
    is wholly as before or as after. Files whose names have *drops* in them may go. With *stages* files may be
    links of the store or read-only meanwhile. With *falls* a file that refuses what was asked for may be a
    hard link or a copy, or the environment gets the link mode *refused*. Names with *foreign* in them are
    the business of pip, which does not clean up after itself, and so is bytecode: an interpreter that cannot
    read some writes its own. Where the same command has nothing to do any more, *sweeper* is the next one,
    which removes what the first one left.
    """

    name: str
    prepare: Callable[[str], None]
    words: tuple[str, ...]
    trees: tuple[str, ...] = ("first", "second", "other")
    environ: Mapping[str, str] = field(default_factory=dict)
    code: str = _ALPHA
    lives: bool = True
    appears: str = ""
    replaced: str = ""
    drops: str = ""
    stages: bool = False
    falls: bool = False
    refused: str = ""
    foreign: str = ""
    sweeper: tuple[str, ...] = ()

    def environment(self, point: str) -> dict[str, str]:
        """The variables by which the command writes below *point* alone."""
        own = {
            "PIPM_STORE": f"{point}/store",
            "XDG_CACHE_HOME": f"{point}/cache",
            "HOME": f"{point}/home",
            "TMPDIR": f"{point}/tmp",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONDONTWRITEBYTECODE": "",
        }
        more = {name: value.format(point=point) for name, value in self.environ.items()}
        return own | more

    def arguments(self, point: str) -> tuple[str, ...]:
        """The command line."""
        return tuple(word.format(point=point) for word in self.words)

    def works(self, point: str) -> bool:
        """Return whether the environment works as before."""
        python = Environment(path=f"{point}/first").python
        return run(python, "-B", "-c", self.code, cwd=point).returncode == 0

    def may_appear(self, name: str) -> bool:
        """Whether an unfinished run may leave *name*."""
        return bool(self.appears) and name.startswith(self.appears)

    def may_vanish(self, name: str) -> bool:
        """Whether the command may remove *name*."""
        return bool(self.drops) and self.drops in name


def _pipm(point: str) -> Pipm:
    variables = Case(name="", prepare=_environments, words=()).environment(point)
    return Pipm(store=f"{point}/store", environ=variables, cwd=point)


def _environments(point: str, *names: str) -> None:
    for name in names or ("first", "second"):
        made = make_environment(f"{point}/{name}")
        install(made, "alpha==1.0", package("alpha", modules=_MODULES))
        install(made, f"{name[-5:]}==1.0", package(name[-5:], modules=1))
        made.compile()
    os.makedirs(f"{point}/other")
    with open(f"{point}/other/file", "w", encoding="ascii") as file:
        file.write("of somebody else\n")
    os.makedirs(f"{point}/home")


def _adopted(*modes: str) -> Callable[[str], None]:
    def prepare(point: str) -> None:
        _environments(point)
        for name in ("first", "second"):
            _pipm(point)("adopt", f"{point}/{name}", *modes).expect()

    return prepare


def _one_adopted(point: str) -> None:
    _environments(point)
    _pipm(point)("adopt", f"{point}/second").expect()


def _one_gone(point: str) -> None:
    _adopted()(point)
    shutil.rmtree(f"{point}/second")


def _locks(point: str, *, program: bool = True) -> None:
    for spec in {*_OLD, *_NEW}:
        name, version = spec.split("==")
        files = package(name, modules=_MODULES, seed=int(version[0]))
        if program:
            files[f"{name}-{version}.dist-info/entry_points.txt"] = _PROGRAM.format(name).encode()
        make_wheel(f"{point}/wheels", spec, files)
    for name, specs in (("old", _OLD), ("new", _NEW)):
        wheels = [f"{point}/wheels/{spec.replace('==', '-')}-py3-none-any.whl" for spec in specs]
        pylock(f"{point}/{name}", wheels)
    os.makedirs(f"{point}/other", exist_ok=True)
    os.makedirs(f"{point}/home", exist_ok=True)


def _synced(*words: str, known: bool = True) -> Callable[[str], None]:
    """An environment of the old lock; with *known* the store has the wheels of the new one."""

    def prepare(point: str) -> None:
        _locks(point)
        pipm = _pipm(point)
        if known:
            pipm("sync", f"{point}/new/pylock.toml", "--env", f"{point}/warm", *words).expect()
            pipm("release", f"{point}/warm").expect()
            shutil.rmtree(f"{point}/warm")
        pipm("sync", f"{point}/old/pylock.toml", "--env", f"{point}/first", *words).expect()

    return prepare


def _to_fetch(point: str) -> None:
    _locks(point)
    _pipm(point)("sync", f"{point}/old/pylock.toml", "--env", f"{point}/warm").expect()
    _pipm(point)("release", f"{point}/warm").expect()
    shutil.rmtree(f"{point}/warm")


def _damaged(point: str) -> None:
    """An entry has lost a file, and an object has another mode."""
    _adopted()(point)
    store = f"{point}/store"
    name = next(
        n for n in sorted(object_names(store)) if os.path.getsize(f"{store}/v1/objects/{n}") == _SMALL
    )
    os.chmod(f"{store}/v1/objects/{name}", 0o644)
    os.unlink(next(row.path for row in walk(f"{store}/v1/wheels/alpha") if row.name == "module_1.py"))


def _without_roots(point: str) -> None:
    _adopted()(point)
    for row in os.scandir(f"{point}/store/v1/roots"):
        os.unlink(row.path)


def _adopted_again(point: str) -> None:
    """Two environments that are known to be unchanged; then one of them changes."""
    _adopted()(point)
    _pipm(point)("adopt", f"{point}/first", f"{point}/second").expect()
    install(Environment(path=f"{point}/first"), "come==1.0", package("come", modules=_MODULES))


def _pushed(point: str) -> None:
    """A remote has the new lock's distributions, the store those of the old one."""
    _synced(known=False)(point)
    pusher = Pipm(store=f"{point}/pusher", environ=_pipm(point).environ, cwd=point)
    for spec in _NEW:
        pusher("store", "add", f"{point}/wheels/{spec.replace('==', '-')}-py3-none-any.whl").expect()
    pusher("key", "new").expect()
    pusher("push", f"{point}/remote", "--all").expect()


def _with_layer(point: str) -> None:
    _locks(point)
    layer = Pipm(store=f"{point}/layer", environ=_pipm(point).environ, cwd=point)
    layer("sync", f"{point}/new/pylock.toml", "--env", f"{point}/warm").expect()
    layer("release", f"{point}/warm").expect()
    shutil.rmtree(f"{point}/warm")
    _pipm(point)("sync", f"{point}/old/pylock.toml", "--env", f"{point}/first").expect()


def _wrapped(point: str) -> None:
    _locks(point)
    _pipm(point)("venv", f"{point}/first").expect()
    _pipm(point)(
        "pip", "install", "--env", f"{point}/first", f"{point}/wheels/alpha-1.0-py3-none-any.whl"
    ).expect()


_SYNC = ("sync", "{point}/new/pylock.toml", "--env", "{point}/first")
_FINDER = ("--link-mode", "finder")
_FRESH = "lib/"
_ALL = (
    *(
        Case(
            name=f"adopt-{mode}",
            prepare=_environments,
            words=("adopt", "{point}/first", "{point}/second", "--link-mode", mode),
            stages=mode in {"finder", "symlink"},
            falls=mode in {"auto", "symlink"},
            refused="finder" if mode == "auto" else "",
        )
        for mode in ("auto", "hardlink", "symlink", "finder")
    ),
    Case(
        name="adopt-second",
        prepare=_one_adopted,
        words=("adopt", "{point}/first"),
        falls=True,
        refused="finder",
    ),
    Case(
        name="adopt-again",
        prepare=_adopted_again,
        words=("adopt", "{point}/first", "{point}/second"),
        falls=True,
        refused="finder",
    ),
    Case(
        name="pull",
        prepare=_pushed,
        words=("pull", "{point}/remote", "--all"),
        trees=("first", "pusher", "remote", "other"),
    ),
    Case(name="release", prepare=_adopted(), words=("release", "{point}/first", "{point}/second")),
    Case(name="release-finder", prepare=_adopted(*_FINDER), words=("release", "{point}/first"), stages=True),
    Case(
        name="sync-new",
        falls=True,
        refused="finder",
        prepare=_to_fetch,
        words=_SYNC,
        lives=False,
        appears="first",
    ),
    Case(
        name="sync-links",
        falls=True,
        prepare=_synced(),
        words=_SYNC,
        code=_REPLACED,
        replaced="alpha",
        appears="first/",
    ),
    Case(
        name="sync-copies",
        prepare=_synced("--link-mode", "copy"),
        words=(*_SYNC, "--link-mode", "copy"),
        code=_REPLACED,
        replaced="alpha",
        appears="first/",
    ),
    Case(
        name="sync-finder",
        falls=True,
        prepare=_synced(*_FINDER),
        words=(*_SYNC, *_FINDER),
        code=_REPLACED,
        replaced="alpha",
        appears="first/",
    ),
    Case(
        name="sync-fetch",
        falls=True,
        prepare=_synced(known=False),
        words=_SYNC,
        code=_REPLACED,
        replaced="alpha",
        appears="first/",
    ),
    Case(
        name="layer",
        falls=True,
        prepare=_with_layer,
        words=_SYNC,
        environ={"PIPM_STORE_LAYERS": "{point}/layer"},
        code=_REPLACED,
        replaced="alpha",
        trees=("first", "layer", "other"),
        appears="first/",
    ),
    Case(name="gc", prepare=_one_gone, words=("gc", "--keep", "0")),
    Case(name="verify-repair", prepare=_damaged, words=("verify", "--full", "--repair"), drops=".pyc"),
    Case(name="verify-rebuild", prepare=_without_roots, words=("verify", "--rebuild")),
    Case(
        name="run",
        prepare=_synced(known=False),
        words=("run", "--lock", "{point}/new/pylock.toml", "python", "-c", "import come"),
        sweeper=("gc",),
    ),
    Case(
        name="pip",
        prepare=_wrapped,
        words=("pip", "install", "--env", "{point}/first", "{point}/wheels/come-1.0-py3-none-any.whl"),
        appears="first/",
        foreign="/come",
        sweeper=("adopt", "{point}/first"),
    ),
    Case(
        name="store-add",
        prepare=_synced(known=False),
        words=("store", "add", "{point}/wheels/come-1.0-py3-none-any.whl"),
    ),
)
CASES = {case.name: case for case in _ALL}
CASES_WITH_PIP = ("sync-new", "sync-fetch", "run", "pip")
"""A point of theirs takes seconds."""
