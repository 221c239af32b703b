"""Invalid and hostile wheels, each with the expected message."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from typing import TYPE_CHECKING

from support.archives import (
    DATA,
    GOOD,
    INFO,
    Archive,
    edit,
    patch_central,
    record_row,
    spoil_content,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Spoil = Callable[[Archive, str], str]


def member(name: str, *, content: bytes = b"evil", mode: int | None = None) -> Spoil:
    """A wheel with one member more, which RECORD names."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.files[name] = content
        if mode is not None:
            archive.modes[name] = mode
        return archive.write(folder)

    return spoil


def also(*names: str) -> Spoil:
    """A wheel with members of these names, which need not be different."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.extra = [(name, b"x") for name in names]
        rows = "".join(record_row(name, b"x") for name in names)
        archive.record = (archive.rows() + rows).encode()
        return archive.write(folder)

    return spoil


def renamed(old: str, new: bytes) -> Spoil:
    """A wheel with a member name that `zipfile` does not write."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.files[old] = b"x"
        path = archive.write(folder)
        edit(path, old.encode(), new)
        return path

    return spoil


def record(change: Callable[[str], str]) -> Spoil:
    """A wheel with another RECORD."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.record = change(archive.rows()).encode()
        return archive.write(folder)

    return spoil


def central(offset: int, layout: str, value: int, *, name: str = "demo/__init__.py") -> Spoil:
    """A wheel with a wrong central directory."""

    def spoil(archive: Archive, folder: str) -> str:
        path = archive.write(folder)
        patch_central(path, name, offset, layout, value)
        return path

    return spoil


def renamed_header(archive: Archive, folder: str) -> str:
    """A wheel whose directory names a member otherwise than the member's own header, which is first."""
    path = archive.write(folder)
    with open(path, "r+b") as file:
        file.seek(file.read().index(b"demo/__init__.py"))
        file.write(b"evil")
    return path


def wheel_file(content: bytes) -> Spoil:
    """A wheel with another WHEEL file."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.wheel = content
        return archive.write(folder)

    return spoil


def metadata(content: bytes) -> Spoil:
    """A wheel with another METADATA file."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.metadata = content
        return archive.write(folder)

    return spoil


def entry_points(content: bytes) -> Spoil:
    """A wheel with entry points."""
    return member(f"{INFO}/entry_points.txt", content=content)


def info(name: str) -> Spoil:
    """A wheel with another name of the metadata folder."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.info = name
        return archive.write(folder)

    return spoil


def method(number: int) -> Spoil:
    """A wheel that is packed in another way."""

    def spoil(archive: Archive, folder: str) -> str:
        archive.method = number
        return archive.write(folder)

    return spoil


def corrupt(archive: Archive, folder: str) -> str:
    archive.files["demo/large.py"] = b"x = 1\n" * 500
    path = archive.write(folder)
    spoil_content(path, "demo/large.py")
    return path


def without_record(archive: Archive, folder: str) -> str:
    archive.record = b""
    return archive.write(folder)


def without_metadata(archive: Archive, folder: str) -> str:
    archive.metadata = None
    return archive.write(folder)


def truncated(archive: Archive, folder: str) -> str:
    path = archive.write(folder)
    os.truncate(path, os.path.getsize(path) // 2)
    return path


def cut_at_the_end(archive: Archive, folder: str) -> str:
    path = archive.write(folder)
    os.truncate(path, os.path.getsize(path) - 3)
    return path


def no_zip(archive: Archive, folder: str) -> str:
    path = archive.write(folder)
    with open(path, "wb") as file:
        file.write(b"<html>Not found</html>")
    return path


def bomb_record(archive: Archive, folder: str) -> str:
    archive.record = b"\n" * ((64 << 20) + 1)
    return archive.write(folder)


def better_row(algorithm: str, content: bytes) -> str:
    """A row of RECORD for the archive's first module, by another algorithm."""
    raw = hashlib.new(algorithm, content).digest()
    digest = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return f"demo/__init__.py,{algorithm}={digest},{len(content)}\n"


INIT = record_row("demo/__init__.py", GOOD["demo/__init__.py"])
INTERPRETER = "would replace an environment's interpreter"
ODD = "is not a valid name in a wheel"
TWICE = "occurs twice"
HOSTILE: dict[str, tuple[Spoil, str, str]] = {
    "absolute": (member("/etc/evil"), "'/etc/evil'", ODD),
    "up": (member("../evil"), "'../evil'", ODD),
    "up in the middle": (member("demo/../../evil"), "'demo/../../evil'", ODD),
    "dot": (member("./evil.py"), "'./evil.py'", ODD),
    "double slash": (member("demo//evil.py"), "'demo//evil.py'", ODD),
    "backslash": (member("demo\\evil.py"), r"'demo\\evil.py'", ODD),
    "drive": (member("C:/evil.py"), "'C:/evil.py'", ODD),
    "newline": (member("demo/e\nvil.py"), r"'demo/e\nvil.py'", ODD),
    "escape": (member("demo/\x1b[31m.py"), r"'demo/\x1b[31m.py'", ODD),
    "turned around": (member("demo/\u202eyp.live"), "demo/", ODD),
    "NUL": (renamed("demo/e_vil.py", b"demo/e\0vil.py"), r"'demo/e\x00vil.py'", ODD),
    "no UTF-8": (renamed("demo/\u00e9\u00e9.py", b"demo/\xff\xff\xff\xff.py"), "", "is not a valid wheel"),
    "twice": (also("demo/x.py", "demo/x.py"), "'demo/x.py'", TWICE),
    "twice but for case": (also("demo/x.py", "demo/X.py"), "'demo/X.py'", TWICE),
    "twice but for sharp s": (also("demo/stra\u00dfe", "demo/STRASSE"), "'demo/STRASSE'", TWICE),
    "twice but for composition": (also("caf\u00e9.py", "cafe\u0301.py"), "cafe", TWICE),
    "a file that is a folder": (member("demo", content=b"x"), "demo", "has the same path as another"),
    "twice by scheme": (member("pure.py"), "'pure.py'", "has the same path as another"),
    "symlink": (member("demo/link.py", mode=0o120777), "'demo/link.py'", "symbolic link"),
    "device": (member("demo/null", mode=0o020666), "'demo/null'", "special file"),
    "fifo": (member("demo/fifo", mode=0o010666), "'demo/fifo'", "special file"),
    "setuid": (member("demo/su", mode=0o104755), "'demo/su'", "setuid"),
    "setgid": (member("demo/sg", mode=0o102755), "'demo/sg'", "setuid or setgid"),
    "encrypted": (central(8, "<H", 0x1), "'demo/__init__.py'", "is encrypted"),
    "bzip2": (method(zipfile.ZIP_BZIP2), "demo/", "neither stored nor deflated"),
    "lzma": (method(zipfile.ZIP_LZMA), "demo/", "neither stored nor deflated"),
    "RECORD lies about content": (
        record(lambda rows: rows.replace(INIT, record_row("demo/__init__.py", b"NAME = 'evil'\n"))),
        "'demo/__init__.py'",
        "differs from RECORD",
    ),
    "RECORD lies about a size": (
        record(lambda rows: rows.replace(INIT, INIT.replace(",14\n", ",15\n"))),
        "'demo/__init__.py'",
        "differs from RECORD",
    ),
    "RECORD has not all": (
        record(lambda rows: rows.replace(INIT, "")),
        "'demo/__init__.py'",
        "not in RECORD",
    ),
    "RECORD has more": (
        record(lambda rows: rows + record_row("demo/none.py", b"")),
        "'demo/none.py'",
        "in RECORD but not in the archive",
    ),
    "RECORD leaves the wheel": (
        record(lambda rows: rows + record_row("../../../victim", b"")),
        "'../../../victim'",
        "not in the archive",
    ),
    "RECORD has no hash": (
        record(lambda rows: rows.replace(INIT, "demo/__init__.py,,\n")),
        "'demo/__init__.py'",
        "no sha256",
    ),
    "RECORD has a weak hash": (
        record(lambda rows: rows.replace(INIT, "demo/__init__.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,14\n")),
        "'demo/__init__.py'",
        "no sha256",
    ),
    "RECORD is missing": (without_record, f"'{INFO}/RECORD'", "is missing"),
    "RECORD has a name without end": (record(lambda rows: rows + "x" * 200_000), "xxx…'", "no sha256"),
    "RECORD has a size without end": (
        record(lambda rows: rows.replace(INIT, INIT.replace(",14\n", f",{'1' * 5000}\n")) + "demo/y,,\n"),
        "'demo/y'",
        "no sha256",
    ),
    "RECORD is a bomb": (bomb_record, f"'{INFO}/RECORD'", "larger than 64 MiB"),
    "smaller than it says": (central(24, "<L", 5000), "'demo/__init__.py'", "smaller than declared"),
    "larger than it says": (central(24, "<L", 3), "'demo/__init__.py'", "larger than declared"),
    "in the archive it is shorter": (central(20, "<L", 3), "'demo/__init__.py'", "cut off"),
    "in the archive it is longer": (central(20, "<L", 99), "'demo/__init__.py'", "overlaps the next"),
    "another name before it": (renamed_header, "'demo/__init__.py'", "another name"),
    "another checksum": (central(16, "<L", 1), "'demo/__init__.py'", "Bad CRC-32"),
    "another place": (central(42, "<L", 5), "'demo/__init__.py'", "is damaged"),
    "a later zip": (central(6, "<H", 99), "", "zip file version 9.9"),
    "WHEEL is of the future": (wheel_file(b"Wheel-Version: 2.0\n"), f"'{INFO}/WHEEL'", "unknown format 2.0"),
    "WHEEL is of the past": (wheel_file(b"Wheel-Version: 0.9\n"), f"'{INFO}/WHEEL'", "unknown format 0.9"),
    "WHEEL says nothing": (wheel_file(b"Tag: py3-none-any\n"), f"'{INFO}/WHEEL'", "no Wheel-Version"),
    "another name": (info("other-1.0.dist-info"), "'other-1.0.dist-info'", "does not match"),
    "another version": (info("demo-1.1.dist-info"), "'demo-1.1.dist-info'", "does not match"),
    "no version": (info("demo.dist-info"), "'demo.dist-info'", "does not match"),
    "no metadata": (info("demo-1.0.info"), "", "has 0 dist-info folders"),
    "two metadata folders": (member("demo-2.0.dist-info/METADATA"), "", "has 2 dist-info folders"),
    "metadata by the back door": (
        member(f"{DATA}/purelib/other-2.0.dist-info/METADATA"),
        "other-2.0.dist-info/METADATA'",
        "is metadata in a folder for data",
    ),
    "RECORD by the back door": (
        member(f"{DATA}/platlib/{INFO}/RECORD"),
        f"'{DATA}/platlib/{INFO}/RECORD'",
        "is metadata in a folder for data",
    ),
    "pyvenv.cfg": (member(f"{DATA}/data/pyvenv.cfg"), f"'{DATA}/data/pyvenv.cfg'", "pyvenv.cfg"),
    "PYVENV.CFG": (member(f"{DATA}/data/PyVenv.cfg"), f"'{DATA}/data/PyVenv.cfg'", "pyvenv.cfg"),
    "an interpreter": (
        member(f"{DATA}/data/bin/python3.11"),
        f"'{DATA}/data/bin/python3.11'",
        INTERPRETER,
    ),
    "a script that is the interpreter": (
        member(f"{DATA}/data/Scripts/Python.exe"),
        f"'{DATA}/data/Scripts/Python.exe'",
        INTERPRETER,
    ),
    **{
        f"the script {name}": (member(f"{DATA}/scripts/{name}"), f"'{DATA}/scripts/{name}'", why)
        for name, why in (
            ("python", INTERPRETER),
            ("Python3", INTERPRETER),
            ("python3.11", INTERPRETER),
            ("python3.13t", INTERPRETER),
            ("pythonw.exe", INTERPRETER),
            ("pypy3", INTERPRETER),
            ("activate", "activation script"),
            ("activate.fish", "activation script"),
            ("activate_this.py", "activation script"),
            ("sub/tool", "is a script in a subfolder"),
        )
    },
    "data that activates": (member(f"{DATA}/data/bin/activate"), f"'{DATA}/data/bin/activate'", "activation"),
    "pipm's folder": (
        member(f"{DATA}/data/.pipm/finder/x"),
        f"'{DATA}/data/.pipm/finder/x'",
        "pipm's own files",
    ),
    "pipm's staging": (member(f"{DATA}/data/.pipm-tmp/x"), f"'{DATA}/data/.pipm-tmp/x'", "own files"),
    "pipm's path file": (member("000_pipm.pth"), "'000_pipm.pth'", "own files"),
    "pipm's hook": (
        member(f"{DATA}/purelib/_pipm_finder.py"),
        f"'{DATA}/purelib/_pipm_finder.py'",
        "pipm's own files",
    ),
    **{
        f"entry points: {text!r}": (entry_points(text), f"'{INFO}/entry_points.txt'", why)
        for text, why in (
            (b"[console_scripts]\npython = demo:main\n", "line 2: a script named python would replace"),
            (b"[gui_scripts]\npythonw = demo:main\n", "line 2: a script named pythonw would replace"),
            (b"[console_scripts]\nactivate = demo:main\n", "line 2: a script named activate would replace"),
            (b"[console_scripts]\n\nbad = mod\n", "line 3: 'mod' is not MODULE:FUNCTION"),
            (b"[console_scripts]\nbad = mod:\n", "line 2: 'mod:' is not MODULE:FUNCTION"),
            (b"[console_scripts]\nbad = os;print(1):main\n", "is not MODULE:FUNCTION"),
            (b"[console_scripts]\nbad = mod:main ; later\n", "is not MODULE:FUNCTION"),
            (b"[console_scripts]\nbad\n", "line 2 is not NAME = MODULE:FUNCTION: 'bad'"),
            (b"[other]\nbad\n", "line 2 is not NAME = MODULE:FUNCTION: 'bad'"),
            (b"[console_scripts]\n../../evil = demo:main\n", "line 2: '../../evil' cannot be the name"),
            (b"[console_scripts]\n.. = demo:main\n", "line 2: '..' cannot be the name"),
            (b"[console_scripts]\n = demo:main\n", "line 2: '' cannot be the name"),
            (b"[console_scripts]\na\x1b[2J = demo:main\n", "cannot be the name"),
            (b"[console_scripts]\n%b = demo:main\n" % (b"n" * 300), "cannot be the name"),
            (b"[console_scripts]\n\xff = demo:main\n", "is not UTF-8"),
        )
    },
    "METADATA is missing": (without_metadata, f"'{INFO}/METADATA'", "is missing"),
    "METADATA is empty": (metadata(b""), f"'{INFO}/METADATA'", "has no Name"),
    "METADATA has no version": (metadata(b"Name: demo\n"), f"'{INFO}/METADATA'", "has no Version"),
    "METADATA has its name too late": (
        metadata(b"Metadata-Version: 2.1\n\nName: demo\nVersion: 1.0\n"),
        f"'{INFO}/METADATA'",
        "has no Name",
    ),
    "METADATA is another's": (
        metadata(b"Name: other\nVersion: 1.0\n"),
        f"'{INFO}/METADATA'",
        "names another release",
    ),
    "METADATA is of another version": (
        metadata(b"Name: demo\nVersion: one\n"),
        f"'{INFO}/METADATA'",
        "names another release",
    ),
    "METADATA's version has thousands of digits": (
        metadata(b"Name: demo\nVersion: " + b"9" * 5000 + b"\n"),
        f"'{INFO}/METADATA'",
        "names another release",
    ),
    "2 000 folders deep": (member("d/" * 1_000 + "x.py"), "'d/d/d/", "more than 100 nested folders"),
    "a path without end": (member("d/" * 1_200 + "x.py"), "'d/d/d/", "too long for a file name"),
    "a name without end": (member("n" * 256 + ".py"), "'nnn", "too long for a file name"),
    "RECORD lies by a better hash": (
        record(lambda rows: rows.replace(INIT, better_row("sha512", b"NAME = 'evil'\n"))),
        "'demo/__init__.py'",
        "differs from RECORD",
    ),
    "a better hash that is cut": (
        record(lambda rows: rows.replace(INIT, better_row("sha512", b"")[:60] + ",14\n")),
        "'demo/__init__.py'",
        "no sha256",
    ),
    "unknown scheme": (member(f"{DATA}/magic/x"), f"'{DATA}/magic/x'", "no scheme"),
    "no scheme": (member(f"{DATA}/x"), f"'{DATA}/x'", "no scheme"),
    "another's schemes": (member("other-2.0.data/scripts/x"), "'other-2.0.data/scripts/x'", "no scheme"),
    "no zip": (no_zip, "", "is not a valid wheel"),
    "truncated": (truncated, "", "is not a valid wheel"),
    "cut at the end": (cut_at_the_end, "", "is not a valid wheel"),
    "corrupt": (corrupt, "'demo/large.py'", "is damaged"),
}
