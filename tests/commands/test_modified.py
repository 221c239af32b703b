"""Edited files and patched distributions stay in their environment unchanged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.pipm import PARTLY, Pipm
from support.snapshot import file_digest, snapshot
from support.store import damage, entry_names, in_store, still_shared, unshared
from support.synthetic import Files, install, make_environment, make_wheel, package, write

if TYPE_CHECKING:
    from support.disks import Disk
    from support.synthetic import Environment

EDITED = "alpha/module_1.py"
TEXT = b"# mine\n" * 1200


def edited(environment: Environment) -> Environment:
    """Install a distribution and edit one of its files."""
    install(environment, "alpha==1.0", package("alpha"))
    write(environment.file(EDITED), TEXT)
    return environment


def test_an_edited_file_stays_edited_private_and_is_named(filesystem: Disk) -> None:
    environment = edited(make_environment(filesystem / "env"))
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(environment.path)
    result = pipm.adopt(environment.path)
    assert snapshot(environment.path) == before
    (path,) = result.left
    assert path.endswith(EDITED)
    assert result.left[path]
    assert os.stat(environment.file(EDITED)).st_nlink == 1
    assert unshared(environment.site, pipm.store) == [EDITED]


def test_an_edited_file_is_named_to_people(filesystem: Disk) -> None:
    """This is no failure, and no hint tells people to undo it."""
    environment = edited(make_environment(filesystem / "env"))
    pipm = Pipm(store=filesystem / "store")
    for _ in range(2):
        result = pipm("adopt", environment.path).expect()
        assert "note: 1 file not as installed: edits stay as they are" in result.err
        assert EDITED in result.err
        assert "hint" not in result.err


@pytest.mark.parametrize("edited_first", [True, False])
def test_an_edit_never_reaches_a_clean_environment(filesystem: Disk, *, edited_first: bool) -> None:
    mine = edited(make_environment(filesystem / "mine"))
    clean = make_environment(filesystem / "clean")
    install(clean, "alpha==1.0", package("alpha"))
    before = snapshot(mine.path), snapshot(clean.path)
    pipm = Pipm(store=filesystem / "store")
    order = (mine, clean) if edited_first else (clean, mine)
    for environment in order:
        pipm.adopt(environment.path)
    assert (snapshot(mine.path), snapshot(clean.path)) == before
    assert unshared(clean.site, pipm.store) == []
    assert unshared(mine.site, pipm.store) == [EDITED]
    assert damage(pipm.store) == []


def test_a_partial_entry_is_completed_and_not_doubled(filesystem: Disk) -> None:
    mine = edited(make_environment(filesystem / "mine"))
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(mine.path)
    wheel = make_wheel(filesystem / "wheels", "alpha==1.0", package("alpha"))
    pipm("store", "add", wheel).expect()
    assert len(entry_names(pipm.store)) == 1


def test_a_deleted_file_stays_deleted(filesystem: Disk) -> None:
    environment = make_environment(filesystem / "env")
    install(environment, "alpha==1.0", package("alpha"))
    os.unlink(environment.file(EDITED))
    other = make_environment(filesystem / "other")
    install(other, "alpha==1.0", package("alpha"))
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(environment.path), snapshot(other.path)
    pipm.adopt(environment.path, codes=(0, PARTLY))
    pipm.adopt(other.path)
    assert (snapshot(environment.path), snapshot(other.path)) == before
    assert unshared(other.site, pipm.store) == []


def patched(files: Files) -> Files:
    """Return a distribution with other content under the same names, RECORD agreeing."""
    return dict(files) | {EDITED: TEXT, "alpha/__init__.py": b"PATCHED = True\n"}


@pytest.mark.parametrize("patched_first", [True, False])
def test_a_patched_distribution_takes_over_nothing(filesystem: Disk, *, patched_first: bool) -> None:
    plain, other = make_environment(filesystem / "plain"), make_environment(filesystem / "other")
    install(plain, "alpha==1.0", package("alpha"))
    install(other, "alpha==1.0", patched(package("alpha")))
    before = snapshot(plain.path), snapshot(other.path)
    pipm = Pipm(store=filesystem / "store")
    for environment in (other, plain) if patched_first else (plain, other):
        pipm.adopt(environment.path)
    assert (snapshot(plain.path), snapshot(other.path)) == before
    assert len(entry_names(pipm.store)) == 2
    assert unshared(plain.site, pipm.store) == []
    assert unshared(other.site, pipm.store) == []
    assert file_digest(plain.file(EDITED)) != file_digest(other.file(EDITED))
    same = "alpha/data/table.bin"
    assert in_store(plain.file(same), pipm.store)
    assert in_store(other.file(same), pipm.store)


def test_a_lying_record_shares_no_false_content(filesystem: Disk) -> None:
    """RECORD promises the other environment's content; the file on the disk is what counts."""
    honest, liar = make_environment(filesystem / "honest"), make_environment(filesystem / "liar")
    install(honest, "alpha==1.0", package("alpha"))
    install(liar, "alpha==1.0", package("alpha"))
    lie = bytearray(package("alpha")["alpha/data/table.bin"])
    lie[40_000] ^= 1  # same size, same name, one bit
    write(liar.file("alpha/data/table.bin"), bytes(lie))
    before = snapshot(liar.path)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(honest.path)
    pipm.adopt(liar.path)
    assert snapshot(liar.path) == before
    assert unshared(liar.site, pipm.store) == ["alpha/data/table.bin"]


def test_another_version_speaks_for_no_object_that_was_edited(filesystem: Disk) -> None:
    first, second = make_environment(filesystem / "first"), make_environment(filesystem / "second")
    install(first, "alpha==1.0", package("alpha"))
    install(second, "alpha==2.0", package("alpha"))
    pipm = Pipm(store=filesystem / "store")
    pipm("adopt", "--link-mode", "hardlink", first.path).expect()
    for environment in (first, second):  # the first one's is the object
        os.chmod(environment.file(EDITED), 0o644)
        with open(environment.file(EDITED), "r+b") as stream:
            stream.write(b"#!")
    pipm("adopt", "--link-mode", "hardlink", second.path).expect()
    assert unshared(second.site, pipm.store) == [EDITED]


def test_another_version_with_a_damaged_manifest_is_no_hindrance(filesystem: Disk) -> None:
    first, second = make_environment(filesystem / "first"), make_environment(filesystem / "second")
    install(first, "alpha==1.0", package("alpha"))
    install(second, "alpha==2.0", package("alpha"))
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path)
    (entry,) = entry_names(pipm.store)
    write(f"{pipm.store}/v1/wheels/{entry}/manifest.json", b"{")
    pipm.adopt(second.path)
    assert unshared(second.site, pipm.store) == []


def test_an_edited_file_is_no_ones_after_release(filesystem: Disk) -> None:
    environment = edited(make_environment(filesystem / "env"))
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(environment.path)
    pipm.adopt(environment.path)
    pipm.release(environment.path)
    assert snapshot(environment.path) == before
    assert still_shared(environment.path) == []
