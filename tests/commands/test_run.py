"""`pipm run`: a program with the distributions of a lock."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from support.locks import pylock
from support.pipm import Pipm, assert_says
from support.snapshot import changes, fingerprint
from support.store import damage
from support.synthetic import Files, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

TOOL: Files = {
    "tool/__init__.py": b"import sys\ndef main(): print('tool', *sys.argv[1:]); return 7\n",
    "tool-1.dist-info/entry_points.txt": b"[console_scripts]\ntool = tool:main\n",
}


def lock_of(folder: str, version: str) -> str:
    files = {path.replace("-1.", f"-{version}."): content for path, content in TOOL.items()}
    return pylock(folder, [make_wheel(f"{folder}/wheels", f"tool=={version}", files)])


def runner(tmp_path: Path) -> Pipm:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    return Pipm(store=str(tmp_path / "store"), cwd=str(tmp_path), environ=cache)


def test_a_program_with_what_the_nearest_lock_names(tmp_path: Path) -> None:
    pipm = runner(tmp_path)
    lock_of(str(tmp_path), "1")
    os.makedirs(tmp_path / "below")
    code = "import tool, sys; print(tool.__file__.startswith(sys.argv[1]), sys.argv[2:])"
    below = replace(pipm, cwd=str(tmp_path / "below"))
    first = below("run", "--", "python", "-c", code, pipm.store, "--env", "x").expect()
    assert first.out == "True ['--env', 'x']\n"
    before = fingerprint(str(tmp_path))
    result = pipm("run", "tool", "-q", "a b").expect(7)
    assert result.out == "tool -q a b\n"
    changed = changes(before, fingerprint(str(tmp_path)))
    # The marker's time is when it was used last.
    assert [name for name in changed if "__pycache__" not in name and "/.pipm/ready" not in name] == []
    assert damage(pipm.store) == []


def test_a_script_and_a_lock_that_is_named(tmp_path: Path) -> None:
    pipm = runner(tmp_path)
    lock = lock_of(str(tmp_path / "project"), "1")
    (tmp_path / "app.py").write_text("import tool, os; tool.main(); print(os.environ['VIRTUAL_ENV'])\n")
    out = pipm("run", f"--lock={lock}", "app.py", "x").expect().out
    assert out.startswith("tool x\n")
    assert str(tmp_path / "cache") in out


def test_another_content_is_another_environment(tmp_path: Path) -> None:
    pipm = runner(tmp_path)
    code = "import importlib.metadata as m; print(m.version('tool'))"
    seen = []
    locks = {}
    for version in ("1", "2"):
        with open(lock_of(str(tmp_path), version), encoding="utf-8") as stream:
            locks[version] = stream.read()
    for version in ("1", "2", "1"):
        (tmp_path / "pylock.toml").write_text(locks[version], encoding="utf-8")
        seen.append(pipm("run", "python", "-c", code).expect().out)
    assert seen == ["1\n", "2\n", "1\n"]
    assert len(os.listdir(tmp_path / "cache/pipm/environments")) == 2
    pipm("gc", "--keep", "0").expect()
    assert pipm("run", "python", "-c", code).expect().out == "1\n"


def test_what_does_not_work_is_said(tmp_path: Path) -> None:
    pipm = runner(tmp_path)
    assert_says(pipm("run", "--", "python").expect(1))
    assert "No such option" in pipm("run", "--magic", "python").expect(2).err
    assert_says(pipm("run").expect(2))
    lock_of(str(tmp_path), "1")
    assert_says(pipm("run", "no-such-program").expect(127))
    assert "pipm run" in pipm("run", "--help").expect().out
