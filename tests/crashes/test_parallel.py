"""Several pipm processes or environments at once: the same result as one after the other."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from support.pipm import DONE, PARTLY, Pipm
from support.readers import Program
from support.snapshot import assert_bytecode_names_kept, assert_kept, snapshot
from support.store import damage, entry_names, object_names, root_count, unshared
from support.synthetic import (
    Environment,
    import_all,
    install,
    make_environment,
    make_wheel,
    package,
)

if TYPE_CHECKING:
    import subprocess

    from support.disks import Disk


def finish(processes: list[subprocess.Popen[str]]) -> None:
    """Wait for processes that all must succeed."""
    told = [process.communicate(timeout=300) for process in processes]
    codes = [process.returncode for process in processes]
    assert set(codes) == {0}, (codes, told)


def eight(disk: Disk) -> list[Environment]:
    """Eight overlapping environments, made once and copied."""
    made = []
    for number in range(8):
        environment = make_environment(disk / f"env{number}")
        for name in ("alpha", "beta", "gamma", f"own{number // 2}"):
            modules = 30 if name == "alpha" else 6
            install(environment, f"{name}==1.0", package(name, modules=modules))
        environment.compile()
        made.append(environment)
    return made


def test_two_adopts_of_one_environment(filesystem: Disk) -> None:
    environment = make_environment(filesystem / "env")
    install(environment, "alpha==1.0", package("alpha", modules=120))
    environment.compile()
    pipm = Pipm(store=filesystem / "store")
    before = snapshot(environment.path)
    finish([pipm.start("adopt", environment.path) for _ in range(2)])
    assert_kept(before, environment.path)
    assert_bytecode_names_kept(before, environment.path)
    assert unshared(environment.site, pipm.store) == []
    assert damage(pipm.store) == []
    assert root_count(pipm.store) == 1
    assert len(entry_names(pipm.store)) == 1
    import_all(environment)


def test_eight_environments_at_once(filesystem: Disk) -> None:
    environments = eight(filesystem)
    before = [snapshot(environment.path) for environment in environments]
    alone, together = Pipm(store=filesystem / "alone"), Pipm(store=filesystem / "together")
    for environment in environments:
        alone.adopt(environment.path)
    expected = object_names(alone.store), entry_names(alone.store)
    for environment in environments:
        shutil.rmtree(environment.path)
    environments = eight(filesystem)
    finish([together.start("adopt", environment.path) for environment in environments])
    for environment, taken in zip(environments, before, strict=True):
        assert_kept(taken, environment.path)
        assert unshared(environment.site, together.store) == []
    assert (object_names(together.store), entry_names(together.store)) == expected
    assert damage(together.store) == []
    assert root_count(together.store) == 8


TARGET = "alpha/data/table.bin"
SEVERAL = 18  # more than adopt takes together


def several(folder: str) -> list[Environment]:
    """Environments with one release in common, of which the first ones have one file odd, each otherwise."""
    made = [make_environment(os.path.join(folder, f"env{number:02}")) for number in range(SEVERAL)]
    for environment in made:
        install(environment, "alpha==1.0", package("alpha", modules=8))
        environment.compile()
    first, missing, executable, longer, linked, _, later = (one.file(TARGET) for one in made[:7])
    for edited in (first, later):
        with open(edited, "r+b") as file:
            file.write(b"mine")
    os.unlink(missing)
    os.chmod(executable, 0o755)
    with open(longer, "ab") as file:
        file.write(b"more")
    os.unlink(linked)
    os.link(made[8].file(TARGET), linked)
    return made


def test_together_is_as_one_after_the_other(filesystem: Disk) -> None:
    """What is shared in several environments at once: nobody's odd file is another's, whoever comes first."""

    def adopted(name: str, *, together: bool) -> tuple[object, ...]:
        environments = several(filesystem / name)
        before = [snapshot(environment.path) for environment in environments]
        pipm = Pipm(store=filesystem / f"{name}-store")
        paths = [environment.path for environment in environments]
        program = Program(
            environments[5].python, f"f = open({environments[5].file(TARGET)!r}, 'r+b')\nwait()\n"
        )
        rows: list[dict[str, Any]] = []
        try:
            program.until_it_waits()
            for some in [paths] if together else [[path] for path in paths]:
                rows += pipm.adopt(*some, codes=(DONE, PARTLY)).json["environments"]
            program.finish()
        finally:
            program.kill()
        for environment, taken in zip(environments, before, strict=True):
            assert_kept(taken, environment.path)
        assert damage(pipm.store) == []
        left = [unshared(environment.site, pipm.store) for environment in environments]
        assert [number for number, names in enumerate(left) if names] == [0, 3, 5, 6]
        assert {name for names in left for name in names} == {TARGET}
        told = [
            (row["files"], row["files_shared"] + row["files_already_shared"], row["files_left"])
            for row in rows
        ]
        return told, left, object_names(pipm.store), entry_names(pipm.store)

    assert adopted("one", together=True) == adopted("two", together=False)


def test_adopt_and_release_at_once(filesystem: Disk) -> None:
    environments = eight(filesystem)
    before = [snapshot(environment.path) for environment in environments]
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(*(environment.path for environment in environments[:4]))
    finish(
        [pipm.start("release", environment.path) for environment in environments[:4]]
        + [pipm.start("adopt", environment.path) for environment in environments[4:]]
    )
    for environment, taken in zip(environments, before, strict=True):
        assert_kept(taken, environment.path)
        import_all(environment)
    assert damage(pipm.store) == []
    assert root_count(pipm.store) == 4


def test_store_add_of_one_wheel_by_many(filesystem: Disk) -> None:
    wheel = make_wheel(filesystem / "wheels", "alpha==1.0", package("alpha", modules=60))
    pipm = Pipm(store=filesystem / "store")
    finish([pipm.start("store", "add", wheel) for _ in range(4)])
    assert len(entry_names(pipm.store)) == 1
    assert damage(pipm.store) == []
