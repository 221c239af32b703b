"""Unusual RECORDs of real distributions: handled, or left with a reason."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from support.pipm import DONE, PARTLY
from support.snapshot import assert_kept, changes, fingerprint, snapshot
from support.store import damage, in_store, unshared
from support.synthetic import (
    Environment,
    dist_info,
    install,
    make_environment,
    package,
    record_row,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.pipm import Pipm, Result

INFO = dist_info("alpha", "1.0")


def adopt_odd(tmp_path: Path, pipm: Pipm, record: Callable[[str], bytes]) -> tuple[Environment, Result]:
    """Adopt an environment with an odd RECORD; whatever it says, the files stay as they are."""
    environment = make_environment(str(tmp_path / "env"))
    install(environment, "alpha==1.0", package("alpha"), record=record)
    install(environment, "beta==1.0", package("beta"))
    before = snapshot(environment.path)
    result = pipm.adopt(environment.path, mode="hardlink", codes=(DONE, PARTLY))
    assert snapshot(environment.path) == before
    assert [name for name in unshared(environment.site, pipm.store) if "beta" in name] == []
    assert damage(pipm.store) == []
    return environment, result


def test_crlf_rows_are_ordinary(tmp_path: Path, pipm: Pipm) -> None:
    environment, result = adopt_odd(tmp_path, pipm, lambda text: text.replace("\n", "\r\n").encode())
    assert result.code == DONE
    assert unshared(environment.site, pipm.store) == []


def test_quoted_rows_are_ordinary(tmp_path: Path, pipm: Pipm) -> None:
    def quoted(text: str) -> bytes:
        rows = (row.split(",") for row in text.splitlines())
        return "\n".join(f'"{row[0]}",{row[1]},{row[2]}' for row in rows).encode()

    environment, result = adopt_odd(tmp_path, pipm, quoted)
    assert result.code == DONE
    assert unshared(environment.site, pipm.store) == []


def test_rows_without_hash_are_hashed(tmp_path: Path, pipm: Pipm) -> None:
    """PDM writes such rows."""

    def bare(text: str) -> bytes:
        return "".join(f"{row.split(',')[0]},,\n" for row in text.splitlines()).encode()

    environment, result = adopt_odd(tmp_path, pipm, bare)
    assert result.code == DONE
    assert unshared(environment.site, pipm.store) == []


def test_virtualenvs_rows_of_bytecode_name_no_files(tmp_path: Path, pipm: Pipm) -> None:
    """It lists folders and bytecode that are not there: the distribution has an entry all the same."""
    rows = "alpha/module_1.cpython-311.pyc,,\nalpha/data/__pycache__,,\nalpha/sub/__pycache__,,\n"
    _, result = adopt_odd(tmp_path, pipm, lambda text: f"{text}{rows}".encode())
    assert result.code == DONE
    assert not [path for path in result.left if path.endswith((".pyc", "__pycache__"))]
    assert sorted(os.listdir(f"{pipm.store}/v1/wheels")) == ["alpha", "beta"]


def test_rows_with_another_hash_are_read(tmp_path: Path, pipm: Pipm) -> None:
    def sha512(text: str) -> bytes:
        return text.replace("sha256=", "md5=").encode()

    environment, result = adopt_odd(tmp_path, pipm, sha512)
    module = environment.file("alpha/module_1.py")
    assert in_store(module, pipm.store) or any("alpha" in path for path in result.left)


def test_a_dot_slash_row_is_the_same_file(tmp_path: Path, pipm: Pipm) -> None:
    environment, _ = adopt_odd(
        tmp_path, pipm, lambda text: "".join(f"./{r}\n" for r in text.splitlines()).encode()
    )
    assert unshared(environment.site, pipm.store) == []


def outside(tmp_path: Path, name: str) -> str:
    """A file outside the environment which a row names."""
    path = str(tmp_path / name)
    write(path, b"not yours\n" * 900)
    return path


def test_an_absolute_row_touches_nothing_outside(tmp_path: Path, pipm: Pipm) -> None:
    victim = outside(tmp_path, "victim.py")
    before = fingerprint(str(tmp_path))["victim.py"]
    row = record_row(victim, b"not yours\n" * 900)
    environment, _ = adopt_odd(tmp_path, pipm, lambda text: f"{text}{row}\n".encode())
    assert fingerprint(str(tmp_path))["victim.py"] == before
    assert not in_store(victim, pipm.store)
    assert unshared(environment.site, pipm.store) == []


def test_a_row_that_climbs_out_touches_nothing_outside(tmp_path: Path, pipm: Pipm) -> None:
    victim = outside(tmp_path, "victim.py")
    before = fingerprint(str(tmp_path))["victim.py"]
    row = record_row("../../../../victim.py", b"not yours\n" * 900)
    environment, _ = adopt_odd(tmp_path, pipm, lambda text: f"{text}{row}\n".encode())
    assert os.path.samefile(environment.file("../../../../victim.py"), victim)
    assert fingerprint(str(tmp_path))["victim.py"] == before
    assert not in_store(victim, pipm.store)
    assert unshared(environment.site, pipm.store) == []


def test_a_row_through_a_symbolic_link_touches_nothing_outside(tmp_path: Path, pipm: Pipm) -> None:
    victim = outside(tmp_path, "elsewhere/victim.py")
    before = fingerprint(str(tmp_path / "elsewhere"))
    environment = make_environment(str(tmp_path / "env"))
    row = record_row("linked/victim.py", b"not yours\n" * 900)
    install(
        environment,
        "alpha==1.0",
        package("alpha"),
        record=lambda text: f"{text}{row}\n".encode(),
    )
    os.symlink(os.path.dirname(victim), environment.file("linked"))
    pipm.adopt(environment.path, mode="hardlink", codes=(DONE, PARTLY))
    assert changes(before, fingerprint(str(tmp_path / "elsewhere"))) == []
    assert not in_store(victim, pipm.store)


def test_a_record_that_is_not_utf8(tmp_path: Path, pipm: Pipm) -> None:
    environment = make_environment(str(tmp_path / "env"))
    install(
        environment,
        "alpha==1.0",
        package("alpha"),
        record=lambda text: text.encode() + b"alpha/n\xe9.py,,\n",
    )
    before = snapshot(environment.path)
    result = pipm.adopt(environment.path, mode="hardlink", codes=(DONE, PARTLY))
    assert snapshot(environment.path) == before
    shared = in_store(environment.file("alpha/module_1.py"), pipm.store)
    assert shared or any(INFO in path or "alpha" in path for path in result.left)


def test_non_ascii_names_are_ordinary(tmp_path: Path, pipm: Pipm) -> None:
    environment = make_environment(str(tmp_path / "env"))
    files = {"alpha/é ü/名前.py": b"x = 1\n" * 900, "alpha/a, b.txt": b"comma\n" * 900}
    install(environment, "alpha==1.0", files, record=lambda text: _quote(text).encode())
    before = snapshot(environment.path)
    pipm.adopt(environment.path, mode="hardlink")
    assert snapshot(environment.path) == before
    assert unshared(environment.site, pipm.store) == []


def _quote(text: str) -> str:
    return text.replace("alpha/a, b.txt", '"alpha/a, b.txt"')


def test_a_broken_row_spoils_only_itself(tmp_path: Path, pipm: Pipm) -> None:
    rows = "one-column-only\nalpha/x.py,sha256=!!!,notanumber\n,,\n"
    environment, _ = adopt_odd(tmp_path, pipm, lambda text: f"{text}{rows}".encode())
    assert in_store(environment.file("alpha/module_1.py"), pipm.store)


def test_a_row_given_twice(tmp_path: Path, pipm: Pipm) -> None:
    environment, result = adopt_odd(tmp_path, pipm, lambda text: f"{text}{text}".encode())
    assert result.code == DONE
    assert unshared(environment.site, pipm.store) == []


def test_rows_that_name_folders(tmp_path: Path, pipm: Pipm) -> None:
    """virtualenv (tox, Poetry) lists `__pycache__` folders for the pip that it brings."""
    rows = "alpha/__pycache__,,\nalpha/sub/__pycache__,,\nalpha/sub,,\nbeta/__pycache__,,\n"
    environment = make_environment(str(tmp_path / "env"))
    install(
        environment,
        "alpha==1.0",
        package("alpha"),
        record=lambda text: f"{text}{rows}".encode(),
    )
    environment.compile()
    before = snapshot(environment.path)
    result = pipm.adopt(environment.path, mode="hardlink")
    assert result.left == {}
    assert_kept(before, environment.path)
    assert unshared(environment.site, pipm.store) == []


def test_an_empty_record(tmp_path: Path, pipm: Pipm) -> None:
    environment, _ = adopt_odd(tmp_path, pipm, lambda _: b"")
    assert not in_store(environment.file("alpha/module_1.py"), pipm.store)


def test_a_folder_of_metadata_without_record(tmp_path: Path, pipm: Pipm) -> None:
    environment = make_environment(str(tmp_path / "env"))
    install(environment, "alpha==1.0", package("alpha"))
    install(environment, "beta==1.0", package("beta"))
    os.unlink(environment.file(f"{INFO}/RECORD"))
    before = snapshot(environment.path)
    result = pipm.adopt(environment.path, mode="hardlink", codes=(DONE, PARTLY))
    assert snapshot(environment.path) == before
    assert in_store(environment.file("beta/module_1.py"), pipm.store)
    shared = in_store(environment.file("alpha/module_1.py"), pipm.store)
    assert shared or any("alpha" in path for path in result.left)


def test_a_file_owned_by_two_distributions_is_left(tmp_path: Path, pipm: Pipm) -> None:
    environment = make_environment(str(tmp_path / "env"))
    common = {"common/__init__.py": b"x = 1\n" * 900}
    install(environment, "alpha==1.0", package("alpha") | common)
    install(environment, "beta==1.0", package("beta") | common)
    before = snapshot(environment.path)
    pipm.adopt(environment.path, mode="hardlink", codes=(DONE, PARTLY))
    assert snapshot(environment.path) == before
    assert os.stat(environment.file("common/__init__.py")).st_nlink == 1
    assert unshared(environment.site, pipm.store) == ["common/__init__.py"]
