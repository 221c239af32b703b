"""Decisions about each file in adopt and in release."""

from __future__ import annotations

import os
import stat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipm.core.digest import EMPTY, Digest
from pipm.core.disk_usage import Accounting
from pipm.core.originals import Original
from pipm.core.plan.adopt_plan import (
    Action,
    AlreadyShared,
    FileFact,
    Ingest,
    IngestCopy,
    Leave,
    Share,
    plan_file,
)
from pipm.core.plan.release_plan import SharedFile, needed_bytes, plan_release
from pipm.core.reasons import Reason
from pipm.core.record import RecordPlace

ME, SOMEBODY = 1000, 1001
CONTENT = Digest.of(b"content")
REGULAR = stat.S_IFREG | 0o644


def status(mode: int = REGULAR, *, size: int = 7, inode: int = 10, owner: int = ME) -> os.stat_result:
    blocks = -(-size // 4096) * 8
    times = (0.0, 0.0, 0.0, 0, 0, 0)
    return os.stat_result((mode, inode, 1, 1, owner, owner, size, 0, 0, 0, *times, 4096, blocks, 0))


def fact(**changes: Any) -> FileFact:  # noqa: ANN401 - fields of any type
    fields: dict[str, Any] = {
        "directory": "lib/python3.12/site-packages/a",
        "name": "b.py",
        "place": RecordPlace.SITE,
        "path": "a/b.py",
        "status": status(),
        "executable": False,
        "writable": False,
        "recorded": None,
        "digest": CONTENT,
        "size": 7,
        "has_record_digest": True,
        "object": CONTENT.object_name(executable=False),
        "stored": None,
        "sound": False,
        "says_shared": False,
        "contested": False,
    }
    return FileFact(**fields | changes)


def decided(*, by_inode: bool = True, **changes: Any) -> Action:  # noqa: ANN401
    return plan_file(fact(**changes), user=ME, by_inode=by_inode)


def test_new_content_is_ingested() -> None:
    assert decided() == Ingest(fact())


def test_known_content_is_shared() -> None:
    changes: dict[str, Any] = {"stored": status(inode=99), "sound": True}
    assert decided(**changes) == Share(fact(**changes), CONTENT)


def test_an_object_that_was_changed_is_ingested_anew() -> None:
    changes: dict[str, Any] = {"stored": status(inode=99), "sound": False}
    assert decided(**changes) == Ingest(fact(**changes))


def test_content_that_nobody_promised_is_ingested() -> None:
    assert isinstance(decided(digest=None, size=None, has_record_digest=False), Ingest)
    # A hint of the store that does not fit is no sign of a change.
    assert isinstance(decided(size=8, has_record_digest=False, sound=True, stored=status(inode=99)), Ingest)


def test_another_size_than_promised_is_a_modified_file() -> None:
    assert decided(size=8) == Leave(fact(size=8), Reason.MODIFIED)


def test_one_inode_with_the_store() -> None:
    same = status(inode=10)
    assert isinstance(decided(stored=same, sound=True), AlreadyShared)
    doubtful = decided(stored=same, sound=False)
    assert isinstance(doubtful, Ingest)  # its bytes tell
    # With reflinks one number says nothing: the store has inodes of its own.
    assert isinstance(decided(stored=same, sound=True, by_inode=False), Share)


def test_a_file_that_says_so_is_shared_already() -> None:
    assert decided(says_shared=True) == AlreadyShared(fact(says_shared=True), CONTENT)
    assert isinstance(decided(says_shared=True, status=status(owner=SOMEBODY)), Leave)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": None}, Reason.MISSING),
        ({"status": None, "place": RecordPlace.OUTSIDE}, Reason.OUTSIDE),
        ({"status": status(stat.S_IFLNK | 0o777)}, Reason.SYMLINK),
        ({"status": status(stat.S_IFIFO | 0o644)}, Reason.NOT_REGULAR),
        ({"status": status(stat.S_IFSOCK | 0o644)}, Reason.NOT_REGULAR),
        ({"status": status(stat.S_IFCHR | 0o644)}, Reason.NOT_REGULAR),
        ({"status": status(stat.S_IFDIR | 0o755)}, Reason.NOT_REGULAR),
        ({"status": status(stat.S_IFREG | 0o4755)}, Reason.SPECIAL_MODE),
        ({"status": status(stat.S_IFREG | 0o2755)}, Reason.SPECIAL_MODE),
        ({"status": status(stat.S_IFREG | 0o1644)}, Reason.SPECIAL_MODE),
        ({"status": status(owner=SOMEBODY)}, Reason.OTHER_OWNER),
        ({"contested": True}, Reason.CONTESTED),
        ({"status": status(size=0), "digest": EMPTY, "size": 0}, Reason.EMPTY),
        ({"status": status(size=0), "digest": None, "size": None}, Reason.EMPTY),
        ({"status": status(size=0)}, Reason.MODIFIED),
        ({"place": RecordPlace.SCRIPT, "path": "bin/tool"}, Reason.SCRIPT),
        ({"place": RecordPlace.CONFIGURATION, "path": "etc/a"}, Reason.CONFIGURATION),
        ({"place": RecordPlace.OUTSIDE, "path": "/etc/a"}, Reason.OUTSIDE),
        ({"path": "a-1.dist-info/RECORD"}, Reason.INSTALLERS_OWN),
        ({"path": "a-1.dist-info/direct_url.json"}, Reason.INSTALLERS_OWN),
        ({"path": "_virtualenv.py"}, Reason.PATH_FILE),
        ({"path": "a.pth", "contested": True}, Reason.PATH_FILE),
        ({"path": "a.pth", "status": status(size=0)}, Reason.PATH_FILE),
    ],
)
def test_what_stays_an_environments_own(changes: dict[str, Any], reason: Reason) -> None:
    known = {"stored": status(inode=99), "sound": True}
    for more in ({}, known):
        action = decided(**changes | more)
        if reason is Reason.PATH_FILE and isinstance(action, IngestCopy):
            assert action.reason is reason  # the store has a copy, the environment its own
        else:
            assert action == Leave(fact(**changes | more), reason)


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (RecordPlace.SITE, "a/b.pth"),
        (RecordPlace.SITE, "a-1.dist-info/METADATA"),
        (RecordPlace.SITE, "a/_virtualenv.py"),
        (RecordPlace.DATA, "share/a.pth"),
        (RecordPlace.HEADERS, "include/a.h"),
    ],
)
def test_what_may_be_shared(place: RecordPlace, path: str) -> None:
    assert isinstance(decided(place=place, path=path), Ingest)


def test_a_path_file_is_copied() -> None:
    assert decided(path="a.pth") == IngestCopy(fact(path="a.pth"), Reason.PATH_FILE)


modes = st.builds(
    lambda kind, bits: kind | bits,
    st.sampled_from([stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK]),
    st.integers(0, 0o7777),
)
statuses = st.builds(
    lambda mode, size, inode, owner: status(mode, size=size, inode=inode, owner=owner),
    st.just(REGULAR) | modes,
    st.sampled_from([0, 7, 8]),
    st.sampled_from([10, 99]),
    st.sampled_from([ME, SOMEBODY, 0]),
)
names = ["a/b.py", "a.pth", "_virtualenv.py", "a-1.dist-info/RECORD", "a-1.dist-info/METADATA"]
facts = st.builds(
    fact,
    place=st.sampled_from(RecordPlace),
    path=st.sampled_from(names),
    status=st.none() | statuses,
    digest=st.sampled_from([None, EMPTY, CONTENT]),
    size=st.sampled_from([None, 0, 7]),
    has_record_digest=st.booleans(),
    stored=st.none() | statuses,
    sound=st.booleans(),
    says_shared=st.booleans(),
    contested=st.booleans(),
)


@given(facts, st.booleans())
def test_only_what_may_be_shared_is_touched(seen: FileFact, by_inode: bool) -> None:  # noqa: FBT001
    action = plan_file(seen, user=ME, by_inode=by_inode)
    assert action.fact is seen
    if isinstance(action, Leave):
        return
    found = seen.status
    assert found is not None
    assert stat.S_ISREG(found.st_mode)
    if isinstance(action, IngestCopy):
        assert seen.path in ("a.pth", "_virtualenv.py")
        assert found.st_size
        return
    assert found.st_uid == ME
    assert seen.place in (RecordPlace.SITE, RecordPlace.DATA, RecordPlace.HEADERS)
    if isinstance(action, Share | Ingest):
        assert not seen.contested
        assert not found.st_mode & 0o7000
        assert found.st_size
    if isinstance(action, Share):
        assert seen.sound
        assert action.digest == seen.digest
        assert seen.size in (None, found.st_size)


@given(facts, st.booleans())
def test_a_broken_promise_is_told(seen: FileFact, by_inode: bool) -> None:  # noqa: FBT001
    """A file whose size is not what RECORD says is neither compared nor given to the store.

    On a stored inode it is shared whatever it holds.
    """
    action = plan_file(seen, user=ME, by_inode=by_inode)
    found = seen.status
    if found is None or seen.size is None or not seen.has_record_digest or seen.digest is None:
        return
    if by_inode and seen.stored is not None and seen.stored.st_ino == found.st_ino:
        return
    if isinstance(action, Share | Ingest):
        assert seen.size == found.st_size


def shared(mode: int, *, size: int = 10, directory: str = "lib") -> SharedFile:
    return SharedFile(directory, "a.py", status(stat.S_IFREG | mode, size=size))


@pytest.mark.parametrize(
    ("mode", "noted", "private"),
    [
        (0o444, None, 0o644),
        (0o555, None, 0o755),
        (0o644, None, 0o644),
        (0o440, None, 0o640),
        (0o444, 0o664, 0o664),
        (0o444, 0o444, 0o444),
        (0o555, 0o775, 0o775),
        (0o644, 0o664, 0o664),
        (0o600, 0o664, 0o600),  # somebody took rights away since
        (0o555, 0o644, 0o755),  # somebody made it executable
    ],
)
def test_modes_of_private_copies(mode: int, noted: int | None, private: int) -> None:
    original = None if noted is None else Original(noted, 7, 5)
    file = shared(mode)._replace(original=original)
    (planned,) = plan_release([file])
    assert planned.mode == private
    assert (planned.group, planned.mtime_ns) == ((None, 0) if original is None else (7, 5))


def test_a_file_with_an_inode_of_its_own_keeps_what_came_since() -> None:
    file = shared(0o600)._replace(borrowed=False, original=Original(0o644, 7, 5))
    (planned,) = plan_release([file._replace(stored_mtime_ns=0)])
    assert (planned.mode, planned.group, planned.mtime_ns) == (0o600, None, 5)
    (planned,) = plan_release([file._replace(stored_mtime_ns=1)])  # somebody set its time since
    assert planned.mtime_ns == 0
    private = file._replace(private=True)
    assert plan_release([private]) == []
    (planned,) = plan_release([private._replace(stored_mtime_ns=0)])
    assert planned.mtime_ns == 5


def test_bytecode_follows_the_time_of_its_source() -> None:
    source = shared(0o444)._replace(original=Original(0o644, 7, 5_000_000_007))
    compiled = SharedFile("lib/__pycache__", "a.cpython-312.pyc", status(), source="lib/a.py")
    (_, planned) = plan_release([source, compiled])
    assert planned.source_times == (0, 5)
    (planned,) = plan_release([compiled])
    assert planned.source_times is None


def test_what_private_copies_take() -> None:
    sizes = (0, 1, 4096, 4097)
    releases = plan_release([shared(0o444, size=size) for size in sizes])
    assert [needed_bytes([release], Accounting()) for release in releases] == [0, 4096, 4096, 8192]
    assert needed_bytes(releases, Accounting()) == 16384
    assert needed_bytes(releases, Accounting(made=500, inline=2048)) == 16384 - 4096 + 2 + 4 * 500


def test_paths_as_a_person_reads_them() -> None:
    assert shared(0o444).shown == "lib/a.py"
    assert shared(0o444, directory="").shown == "a.py"
    assert fact().shown == "lib/python3.12/site-packages/a/b.py"
    assert fact(directory="").shown == "b.py"
    assert fact(place=RecordPlace.DATA, path="share/x").entry_path == "data/share/x"
