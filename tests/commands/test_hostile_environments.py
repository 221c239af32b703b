"""Environments of hostile users: every command that reads them continues."""

from __future__ import annotations

import json
import marshal
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.pipm import DONE, FAILED, PARTLY, Pipm
from support.process import NORMAL_USER, check, needs_root
from support.synthetic import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Spoil = Callable[[str], None]

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/python{VERSION}/site-packages"
INFO = f"{SITE}/demo-1.0.dist-info"
SECONDS = 60.0


def gone(path: str) -> str:
    """Remove the file at *path*, and make the folder above."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        check("rm", "-rf", path)
    return path


def pipe(name: str) -> Spoil:
    return lambda env: os.mkfifo(gone(f"{env}/{name}"))


def link(name: str, target: str) -> Spoil:
    return lambda env: os.symlink(target, gone(f"{env}/{name}"))


def loop(name: str) -> Spoil:
    return link(name, os.path.basename(name))


def device(name: str) -> Spoil:
    return link(name, "/dev/zero")


def folder(name: str) -> Spoil:
    return lambda env: os.mkdir(gone(f"{env}/{name}"))


def content(name: str, data: bytes) -> Spoil:
    return lambda env: write(gone(f"{env}/{name}"), data)


def sparse(name: str, size: int = 1 << 40) -> Spoil:
    def spoil(env: str) -> None:
        content(name, b"")(env)
        os.truncate(f"{env}/{name}", size)

    return spoil


def endless(env: str) -> None:
    """A module of 1 TiB that takes no block, and RECORD says its size, and a hash."""
    sparse(f"{SITE}/demo.py")(env)
    write(f"{env}/{INFO}/RECORD", f"demo.py,sha256={'A' * 43},{1 << 40}\n".encode())


def bound(name: str) -> Spoil:
    def spoil(env: str) -> None:
        here = os.getcwd()
        os.chdir(os.path.dirname(gone(f"{env}/{name}")))
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(os.path.basename(name))
        os.chdir(here)

    return spoil


def deep(env: str) -> None:
    """1 500 folders in each other, which no path of 4096 bytes reaches."""
    here = os.getcwd()
    os.chdir(f"{env}/{SITE}")
    for _ in range(1_500):
        os.mkdir("deep")
        os.chdir("deep")
    os.chdir(here)


def crowd(env: str) -> None:
    """Rows enough for days."""
    for number in range(3):
        write(f"{env}/{SITE}/crowd{number}-1.0.dist-info/RECORD", b"a,,\n" * 400_000)


def receipt(**changes: object) -> Spoil:
    document = {"version": 1, "store": "/nowhere", "site": SITE, "folded": []} | changes
    return content(".pipm/finder/receipt.json", json.dumps(document).encode())


def hidden(data: bytes) -> Spoil:
    def spoil(env: str) -> None:
        receipt(folded=[["hid-1.0.dist-info", "hid/1.0/x", "1-0", [], []]])(env)
        content(".pipm/finder/metadata", data)(env)

    return spoil


GREEDY = b"[" + (0x7FFFFFFF).to_bytes(4, "little")
RECEIPT, CFG = ".pipm/finder/receipt.json", "pyvenv.cfg"
HOSTILE: dict[str, Spoil] = {
    **{
        f"{what} as {name.rpartition('/')[2]}": spoil(name)
        for name in (CFG, RECEIPT, f"{INFO}/RECORD", f"{INFO}/INSTALLER", f"{INFO}/direct_url.json")
        for what, spoil in {
            "a pipe": pipe,
            "a folder": folder,
            "a socket": bound,
            "a file without end": sparse,
            "a loop": loop,
            "a device": device,
        }.items()
    },
    "a link to another's": link(CFG, "/etc/passwd"),
    "no text": content(CFG, b"\xff\0" * 1000),
    "a terminal's codes": content(CFG, b"version = 3.11.\x1b]0;owned\x07\x1b[2J\nhome = /\n"),
    "a number without end": content(CFG, b"version = " + b"9" * 5000),
    "a receipt of nested lists": content(RECEIPT, b"[" * 1_000_000),
    "a receipt of other things": receipt(folded=[[1, 2, 3, [4], [[5, 6]]]], store=7, site=None),
    "a receipt that leaves": receipt(folded=[["../x", "../../../etc", "1-0", ["/etc/passwd"], []]]),
    "metadata that claims 16 GiB": hidden(GREEDY),
    "metadata with numbers for names": hidden(marshal.dumps({1: {2: (3, b"")}})),
    "metadata of other things": hidden(marshal.dumps([1, 2, None])),
    "metadata is a pipe": pipe(".pipm/finder/metadata"),
    "settings of nested lists": content(".pipm/pip.json", b"[" * 100_000),
    "settings are a pipe": pipe(".pipm/pip.json"),
    "an origin of nested lists": content(f"{INFO}/direct_url.json", b"[" * 1_000_000),
    "rows without end": crowd,
    "RECORD leaves": content(f"{INFO}/RECORD", b"../../../../../etc/passwd,sha256=x,1\n/etc/shadow,,\n"),
    "folders in folders": deep,
    "a name of codes": content(f"{SITE}/\x1b[2J\n-1.0.dist-info/RECORD", b""),
    "a name that is no text": lambda env: os.makedirs(os.fsencode(f"{env}/{SITE}/") + b"\xff-1.0.dist-info"),
    "site-packages is a link": link(SITE, "/"),
    "lib is a link": link("lib", "/usr/lib"),
    "metadata is a link": link(INFO, "/etc"),
    "the interpreter is a pipe": pipe("bin/python"),
    "a module without end": endless,
    "the interpreter is a loop": link("bin/python", "python"),
}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A home with an environment of each kind, and a valid one beside it."""
    needs_root()
    with tempfile.TemporaryDirectory(prefix="pipm-hostile-") as top:
        os.chmod(top, 0o755)
        for number, spoil in enumerate(HOSTILE.values()):
            env = f"{top}/home/{number:02}"
            write(f"{env}/pyvenv.cfg", f"home = /usr/bin\nversion = {VERSION}.0\n".encode())
            write(f"{env}/{INFO}/RECORD", b"demo.py,,6\n")
            write(f"{env}/{SITE}/demo.py", b"x = 1\n")
            os.makedirs(f"{env}/bin")
            spoil(env)
        check("chown", "-Rh", f"{NORMAL_USER}:{NORMAL_USER}", f"{top}/home")
        Path(f"{top}/pylock.toml").write_text('lock-version = "1.0"\ncreated-by = "x"\npackages = []\n')
        pipm = Pipm(store=f"{top}/store", environ={"HOME": top})
        pipm("sync", f"{top}/pylock.toml", "--env", f"{top}/zz-good").expect()
        yield Path(top)
        check("rm", "-rf", f"{top}/home")  # shutil's way ends at a thousand folders


@pytest.fixture
def pipm(place: Path) -> Pipm:
    """The command, by root."""
    return Pipm(store=str(place / "store"), environ={"HOME": str(place), "XDG_CACHE_HOME": str(place / "c")})


COMMANDS = {
    "list": ("list", "{top}"),
    "report": ("report", "{top}", "-o", "{top}/report.html"),
    "adopt": ("adopt", "--all", "{top}", "-n"),
    "verify": ("verify", "--full", "{top}/home/30", "{top}/home/{endless}", "{top}/zz-good"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_commands_over_many_environments_go_on(place: Path, pipm: Pipm, case: str) -> None:
    words = [
        word.format(top=place, endless=list(HOSTILE).index("a module without end")) for word in COMMANDS[case]
    ]
    result = pipm(*words, timeout=SECONDS)
    result.expect(DONE, PARTLY, FAILED)
    text = result.out + result.err
    assert "Internal error" not in text
    assert "Traceback" not in text
    assert "\x1b" not in text
    if case in ("list", "adopt"):
        assert "~/zz-good" in result.out
    if case == "list":
        assert result.code == DONE
        document = pipm("list", str(place), "--json", timeout=SECONDS).expect().json
        assert f"{place}/zz-good" in {row["path"] for row in document["environments"]}


def test_each_is_looked_at_alone(place: Path, pipm: Pipm) -> None:
    for number in (*range(0, len(HOSTILE), 9), list(HOSTILE).index("a module without end")):
        env = f"{place}/home/{number:02}"
        result = pipm("why", f"{env}/{SITE}/demo.py", timeout=SECONDS)
        text = result.out + result.err
        assert "Internal error" not in text, list(HOSTILE)[number]
        assert "Traceback" not in text, list(HOSTILE)[number]
