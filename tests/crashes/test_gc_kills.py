"""gc killed at any change: nothing needed is lost, and the next gc finishes."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from pipm.adopt.adopt import adopt
from pipm.context.progress import Progress
from pipm.core.plan.gc_plan import Limits
from pipm.fs.link_modes import LinkMode
from pipm.gc.collect import collect
from pipm.share.adoption import AdoptOptions
from pipm.verify.verify import verify
from support.kills import killed_at, torn_store
from support.snapshot import snapshot
from support.store import damage, entry_names, object_names, root_count
from support.synthetic import import_all, install, make_environment, package

if TYPE_CHECKING:
    from support.disks import Disk

QUIET = Progress()


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
        assert torn_store(store) == []
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
