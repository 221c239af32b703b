"""A collector killed at any change it makes: nothing that is needed is lost, and the next one finishes."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

from support.snapshot import snapshot
from support.store import damage, entry_names, object_names, root_count
from support.synthetic import import_all, install, make_environment, package

from dedupe.fs.links import LinkMode
from dedupe.ops.keeping.gc import collect
from dedupe.ops.keeping.verify import verify
from dedupe.ops.progress import Progress
from dedupe.ops.sharing.adopt import adopt
from dedupe.ops.sharing.adoption import AdoptOptions
from dedupe.plan.gc import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.disks import Disk

QUIET = Progress()
CHANGES = ("rename", "unlink", "rmdir", "link", "mkdir", "utime")


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Do *work* in a child that is killed before its change of this number; whether it came to that."""
    child = os.fork()
    if not child:
        left = number

        def counted(change: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal left
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*arguments, **options)

            return call

        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def torn(store: str) -> list[str]:
    """What is damaged; what lies in tmp/ is the killed run's, and the next one's to sweep."""
    return [line for line in damage(store) if not line.startswith("tmp: ")]


def test_killed_at_each_change(either_mode: Disk) -> None:
    mode = LinkMode.REFLINK if either_mode.reflinks else LinkMode.HARDLINK
    number, step, hit = 1, 1, True
    while hit:
        base = either_mode / str(number)
        first, second = make_environment(f"{base}/a"), make_environment(f"{base}/b")
        for name in ("alpha", "beta", "gamma"):
            install(first, f"{name}==1.0", package(name, modules=4))
        install(second, "alpha==1.0", package("alpha", modules=4))
        before, store = snapshot(second.path), f"{base}/store"
        for environment in (first, second):
            adopt(store, environment.path, AdoptOptions(link_mode=mode), QUIET)
        shutil.rmtree(first.path)
        hit = killed_at(number, lambda store=store: collect(store, Limits(keep=0.0), QUIET))  # type: ignore[misc]
        assert torn(store) == []
        findings, _ = verify(store, [], QUIET, full=True)
        assert (findings.damages, findings.unreadable) == ([], [])
        collect(store, Limits(keep=0.0), QUIET)
        assert snapshot(second.path) == before
        assert {name.split("/")[0] for name in entry_names(store)} == {"alpha"}
        assert (root_count(store), damage(store)) == (1, [])
        shutil.rmtree(second.path)
        collect(store, Limits(keep=0.0), QUIET)
        assert object_names(store) == entry_names(store) == set()
        shutil.rmtree(base)
        number, step = number + step, step + 1
    assert number > 40, "the collector made too few changes for this test to mean anything"


def test_killed_while_entries_go_to_the_trash(either_mode: Disk) -> None:
    """Those of an environment that reads the store itself; when it turns up again it gets them back."""
    hit, number = True, 1
    while hit:
        base = either_mode / str(number)
        environment = make_environment(f"{base}/a")
        install(environment, "alpha==1.0", package("alpha", modules=2))
        store = f"{base}/store"
        adopt(store, environment.path, AdoptOptions(link_mode=LinkMode.SYMLINK), QUIET)
        os.rename(environment.path, f"{base}/moved")
        for entry in entry_names(store):
            os.utime(f"{store}/v1/wheels/{entry}", (1, 1))
        hit = killed_at(number, lambda store=store: collect(store, Limits(keep=1e-3), QUIET))  # type: ignore[misc]
        os.rename(f"{base}/moved", environment.path)
        adopt(store, environment.path, AdoptOptions(link_mode=LinkMode.SYMLINK), QUIET)
        collect(store, Limits(keep=1e-3), QUIET)
        import_all(environment)
        assert damage(store) == []
        number += 3
    assert number > 2
