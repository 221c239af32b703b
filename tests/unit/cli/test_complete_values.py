"""Shells complete values, too; each shell is asked in its own way."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.process import SOURCES, check, clean_environ

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.pipm import Pipm

STARTS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
}
CASES = [
    ("adopt --link-mode h", "hardlink"),
    ("sync --link-mode re", "reflink"),
    ("help li", "link-modes"),
    ("why nu", "numpy"),
    ("release --dist nu", "numpy"),
    ("store ls nu", "numpy"),
    ("list --sort excl", "exclusive"),
    ("list --color ne", "never"),
    ("run -e @sc", "@science"),
    ("adopt @", "@science"),
    ("release @science @sc", "@science"),
    ("verify @sc", "@science"),
    ("rm @sc", "@science"),
    ("adopt fold", "folder"),
]
"""What a person types before the key, and the last word after it."""


@pytest.fixture
def variables(pipm: Pipm, tmp_path: Path) -> dict[str, str]:
    """`pipm` on PATH, with a store, a named environment and a folder."""
    os.makedirs(f"{pipm.store}/v1/wheels/numpy")
    os.makedirs(f"{tmp_path}/data/pipm-environments/science")
    os.makedirs(f"{tmp_path}/folder")
    os.mkdir(f"{tmp_path}/bin")
    script = f"#!{sys.executable}\nimport sys; sys.path.insert(0, {SOURCES!r})\n"
    with open(f"{tmp_path}/bin/pipm", "w", encoding="utf-8") as file:
        file.write(f"{script}from pipm.__main__ import main; main()\n")
    os.chmod(f"{tmp_path}/bin/pipm", 0o755)
    return {
        "PIPM_STORE": pipm.store,
        "XDG_DATA_HOME": f"{tmp_path}/data",
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "TERM": "dumb",
        "PS1": "",
    }


def typed(shell: str, lines: list[str], cwd: str, variables: Mapping[str, str]) -> list[str]:
    """Type *lines*, with their keys, into a shell at a terminal; return the content of the file `words`."""
    reads, writes = pty.openpty()
    with subprocess.Popen(
        STARTS[shell],
        stdin=writes,
        stdout=subprocess.DEVNULL,
        stderr=writes,
        cwd=cwd,
        env=clean_environ(variables),
        start_new_session=True,
    ) as process:
        os.close(writes)
        for line in [*lines, "exit"]:
            os.write(reads, f"{line}\n".encode())
        try:
            while os.read(reads, 4096):
                pass
        except OSError:
            pass  # the terminal closes with the shell
        process.wait(60)
    os.close(reads)
    with open(f"{cwd}/words", encoding="utf-8") as file:
        return file.read().splitlines()


@pytest.mark.parametrize("shell", STARTS)
def test_the_key_at_a_terminal(shell: str, tmp_path: Path, variables: dict[str, str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    script = check("pipm", environ=variables | {"_PIPM_COMPLETE": f"source_{shell}"})
    with open(f"{tmp_path}/completion", "w", encoding="utf-8") as file:
        file.write(script)
    setup = "autoload -U compinit; compinit -u -D; " if shell == "zsh" else ""
    keys = [f"pipm {words}\t\x01echo \x05 >> words" for words, _ in CASES]
    found = typed(shell, [f"{setup}. ./completion", *keys], str(tmp_path), variables)
    assert [line.split()[-1].rstrip("/") for line in found] == [last for _, last in CASES]


def test_fish(tmp_path: Path, variables: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("no fish")
    script = check("pipm", environ=variables | {"_PIPM_COMPLETE": "source_fish"})
    asked = "; ".join(f"complete -C 'pipm {words}'; echo ." for words, _ in CASES)
    told = check("fish", "--no-config", "-c", f"{script}; {asked}", cwd=str(tmp_path), environ=variables)
    found = [part.strip("/\n") for part in told.split(".\n")]
    assert found == [*(last for _, last in CASES), ""]
