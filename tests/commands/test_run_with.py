"""`pipm run --with`, and scripts with inline metadata (PEP 723)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.pipm import Pipm, assert_says
from support.runs import environments, make_runner, publish, withdraw_index
from support.store import damage

if TYPE_CHECKING:
    from pathlib import Path

SHOW = "import importlib.metadata as m; print(sorted((d.name, d.version) for d in m.distributions()))"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for spec in ("tool==1", "tool==2", "leaf==1", "leaf==2"):
        publish(str(tmp_path), spec)
    publish(str(tmp_path), "top==1", "leaf")
    return str(tmp_path)


@pytest.fixture
def pipm(folder: str) -> Pipm:
    return make_runner(folder)


def script(folder: str, *lines: str, name: str = "app.py", code: str = "") -> str:
    path = os.path.join(folder, name)
    block = "".join(f"# {line}\n" for line in lines)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f"#!/usr/bin/env python\n# /// script\n{block}# ///\n{code or SHOW}\n")
    return path


def test_requirements_without_any_lock(folder: str, pipm: Pipm) -> None:
    words = ("run", "--with", "top", "-w", "tool<2")
    first = pipm(*words, "--", "python", "-c", SHOW).expect()
    assert first.out == "[('leaf', '2'), ('tool', '1'), ('top', '1')]\n"
    assert first.err == "note: resolving top, tool<2\n"
    # Warm: no index, nothing resolved, nothing said.
    withdraw_index(folder)
    again = pipm(*words, "tool").expect()
    assert (again.out, again.err) == ("tool 1\n", "")
    assert len(environments(folder)) == 1
    assert damage(pipm.store) == []


def test_requirements_over_a_lock(folder: str, pipm: Pipm) -> None:
    lock = pylock(folder, [publish(folder, "tool==1"), publish(folder, "leaf==1")])
    # What the lock pins stays, unless it is asked for otherwise.
    assert pipm("run", "--with", "top", "python", "-c", SHOW).expect().out == (
        "[('leaf', '1'), ('tool', '1'), ('top', '1')]\n"
    )
    assert pipm("run", "--with", "top", "--with", "tool", "tool").expect().out == "tool 1\n"
    assert pipm("run", "--with", "top", "--with", "tool>1", "tool").expect().out == "tool 2\n"
    assert pipm("run", "tool").expect().out == "tool 1\n"
    assert (
        pipm("run", "--no-lock", "--with", "leaf", "python", "-c", SHOW).expect().out == "[('leaf', '2')]\n"
    )
    withdraw_index(folder)
    assert pipm("run", "--with", "top", "tool").expect().out == "tool 1\n"
    # Another lock is another answer, and here there is no index any more.
    with open(lock, "a", encoding="utf-8") as stream:
        stream.write("# another\n")
    assert_says(pipm("run", "-q", "--with", "top", "tool").expect(1))
    failed = pipm("run", "--json", "--with", "top", "tool").expect(1)
    assert failed.error["kind"] == "fetch"


def test_what_was_resolved_stays_until_it_is_refreshed(folder: str, pipm: Pipm) -> None:
    assert pipm("run", "--with", "tool", "tool").expect().out == "tool 2\n"
    publish(folder, "tool==3")
    assert pipm("run", "--with", "tool", "tool").expect().out == "tool 2\n"
    assert pipm("run", "--refresh", "--with", "tool", "tool").expect().out == "tool 3\n"
    assert pipm("run", "--with", "tool", "tool").expect().out == "tool 3\n"


def test_a_wheel_and_a_folder_of_this_disk(folder: str, pipm: Pipm) -> None:
    wheel = publish(folder, "other==5")
    assert pipm("run", "--with", os.path.relpath(wheel, folder), "other").expect().out == "other 5\n"
    publish(folder, "other==5", text="def main(): print('built again')\n")
    os.utime(wheel, (2e9, 2e9))
    assert pipm("run", "--with", wheel, "other").expect().out == "built again\n"


def test_a_script_says_what_it_needs(folder: str, pipm: Pipm) -> None:
    pylock(folder, [publish(folder, "tool==1")])  # the project's lock is not the script's
    code = "import sys; print(sys.argv[1:])\n" + SHOW
    path = script(folder, 'requires-python = ">=3.9"', "dependencies = [", '  "top",', "]", code=code)
    out = "['--with', 'x']\n[('leaf', '2'), ('top', '1')]\n"
    assert pipm("run", path, "--with", "x").expect().out == out
    withdraw_index(folder)
    again = pipm("run", "app.py", "--with", "x").expect()
    assert (again.out, again.err) == (out, "")
    os.rename(path, f"{folder}/app")
    assert pipm("run", "--script", "app", "--with", "x").expect().out == out
    # Another code, the same needs.
    script(folder, 'requires-python = ">=3.9"', "dependencies = [", '  "top",', "]", code="import leaf")
    assert pipm("run", "app.py").expect().out == ""
    assert len(environments(folder)) == 1


def test_a_script_without_needs_and_one_with_more(folder: str, pipm: Pipm) -> None:
    path = script(folder, "dependencies = []")
    assert pipm("run", path).expect().out == "[]\n"
    assert pipm("run", "--with", "leaf", path).expect().out == "[('leaf', '2')]\n"
    lock = pylock(f"{folder}/elsewhere", [publish(folder, "tool==1")])
    assert pipm("run", "--lock", lock, path).expect().out == "[('tool', '1')]\n"


@pytest.mark.parametrize("name", ["app.py.lock", "pylock.app.toml"])
def test_a_script_with_a_lock_of_its_own(folder: str, pipm: Pipm, name: str) -> None:
    path = script(folder, 'dependencies = ["leaf"]')
    if name.endswith(".toml"):
        lock = pylock(f"{folder}/made", [publish(folder, "leaf==1")])
        os.rename(lock, f"{folder}/{name}")
    else:
        wheel = publish(folder, "leaf==1")
        with open(f"{folder}/{name}", "w", encoding="utf-8") as stream:
            stream.write(
                'version = 1\nrequires-python = ">=3.9"\n[manifest]\nrequirements = [{ name = "leaf" }]\n'
                f'[[package]]\nname = "leaf"\nversion = "1"\nsource = {{ path = "{wheel}" }}\n'
                f'wheels = [{{ filename = "{os.path.basename(wheel)}" }}]\n'
            )
    assert pipm("run", path).expect().out == "[('leaf', '1')]\n"
    script(folder, 'dependencies = ["leaf", "tool"]')
    stale = pipm("run", path).expect(1)
    assert_says(stale)
    assert "tool" in stale.err
    assert "lock it again" in stale.err


def test_an_interpreter_that_fits_the_script(folder: str, pipm: Pipm) -> None:
    minor = sys.version_info.minor
    path = script(folder, f'requires-python = ">=3.{minor + 40}"')
    for words in ((), ("--python", sys.executable)):
        refused = pipm("run", *words, path).expect(1)
        assert_says(refused)
        assert f">=3.{minor + 40}" in refused.err
    path = script(folder, f'requires-python = "==3.{minor}.*"', code="import sys; print(sys.version_info[1])")
    assert pipm("run", path).expect().out == f"{minor}\n"


@pytest.mark.parametrize(
    "lines",
    [
        ["dependencies = [", '"top"'],
        ["dependencies = 7"],
        ['dependencies = ["top>>1"]'],
        ['requires-python = "three"'],
    ],
    ids=["toml", "type", "requirement", "range"],
)
def test_broken_metadata_is_told_with_its_file(folder: str, pipm: Pipm, lines: list[str]) -> None:
    path = script(folder, *lines)
    refused = pipm("run", path).expect(1)
    assert_says(refused)
    assert path in refused.err


def test_what_makes_no_sense_is_refused(folder: str, pipm: Pipm) -> None:
    for words, code in (
        (["--with", "tool>>1", "tool"], 2),
        (["--with", "./no-such.whl", "tool"], 2),
        (["--no-lock", "tool"], 2),
        (["--script", "no-such-file"], 2),
        (["--lock", "a", "--lock", "b", "tool"], 1),  # the last one counts, and is not there
        (["--lock", "no-such.lock", "tool"], 1),
        (["--with", "tool", "no-such-program"], 127),
    ):
        done = pipm("run", *words).expect(code)
        assert "error: " in done.err, words
        assert "\n\nhint: " in done.err, words
        assert "Traceback" not in done.err, words
    failed = pipm("run", "--with", "no-such-thing==1", "python").expect(1)
    assert "no-such-thing" in failed.err
    assert not os.listdir(f"{folder}/cache/pipm/locks")[1:]
