"""`pipm sync` of wheels made here, without an index: exactness, sharing, crashes, refusals."""

from __future__ import annotations

import os
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest
from support.locks import assert_holds, assert_record, pylock, stale_bytecode
from support.pipm import FAILED, Pipm, assert_refused
from support.process import ROOT, check, interpreter_for
from support.snapshot import file_digest, snapshot, walk
from support.store import damage, in_store
from support.synthetic import Environment, Files, import_all, install, make_environment, make_wheel, package

if TYPE_CHECKING:
    from support.disks import Disk

DEMO: Files = {
    "awkward.py": b"VALUE = 1\n",
    "awkward_start.pth": b"# read at every start\n",
    "awkward_space/part/__init__.py": b"PART = 'awkward'\n",
    "awkward_templates/broken.py": b"this does not { compile\n",
    "awkward-1.0.data/scripts/awkward-old": b"#!python\nprint('old', __import__('awkward').VALUE)\n",
    "awkward-1.0.data/data/share/awkward/words.txt": b"words\n",
    "awkward-1.0.data/data/etc/awkward.conf": b"setting = 1\n",
    "awkward-1.0.data/headers/awkward.h": b"#define AWKWARD 1\n",
    "awkward-1.0.data/platlib/awkward_native.py": b"NATIVE = True\n",
    "awkward-1.0.dist-info/entry_points.txt": b"[console_scripts]\nawkward = awkward_main:main\n",
    "awkward-1.0.dist-info/licenses/LICENSE": b"free\n",
    "awkward_main.py": b"def main():\n    print('new')\n",
}


def wheels_in(folder: str) -> list[str]:
    """Write three wheels: a package, one that shares a namespace, and one with all unusual features."""
    other = package("other") | {"awkward_space/more/__init__.py": b"PART = 'other'\n"}
    return [
        make_wheel(folder, "first==1.0", package("first")),
        make_wheel(folder, "other==2.0", other),
        make_wheel(folder, "awkward==1.0", DEMO),
    ]


def synced(path: str) -> Environment:
    return Environment(path=path)


def sync(pipm: Pipm, lock: str, env: str, *options: str) -> dict[str, object]:
    return pipm("sync", lock, "--env", env, "--json", *options).expect().json


def names(rows: object) -> list[str]:
    assert isinstance(rows, list)
    return [row["name"] for row in rows]


def test_makes_an_environment_that_shares_everything(filesystem: Disk) -> None:
    pipm = Pipm(store=filesystem / "store")
    wheels = wheels_in(filesystem / "wheels")
    lock, env = pylock(filesystem / "project", wheels), synced(filesystem / "env")
    done = sync(pipm, lock, env.path)
    assert done["created"] is True
    assert names(done["added"]) == ["awkward", "first", "other"]
    assert done["link_mode"] == ("hardlink" if filesystem.kind == "ext4" else "reflink")
    assert_holds(env, wheels)
    import_all_but_templates(env)
    assert stale_bytecode(env) == [env.file("awkward_templates/broken.py")]
    unshared = [
        row.path
        for row in walk(env.site)
        if row.name.endswith((".py", ".bin", ".sh")) and os.path.getsize(row.path)
        if not in_store(row.path, pipm.store)
    ]
    assert unshared == []
    assert damage(pipm.store) == []
    assert pipm("list", "--json").expect().json["environments"][0]["state"] == "synced"


def import_all_but_templates(env: Environment) -> None:
    hidden = env.file("awkward_templates")
    moved = f"{env.path}/templates"
    os.rename(hidden, moved)
    try:
        import_all(env)
    finally:
        os.rename(moved, hidden)


def test_scripts_data_headers_and_metadata_are_as_specified(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    (_, _, awkward) = wheels_in(f"{base}/wheels")
    env = synced(f"{base}/env")
    sync(pipm, pylock(base, [awkward]), env.path)
    assert check(f"{env.path}/bin/awkward").strip() == "new"
    assert check(f"{env.path}/bin/awkward-old").strip() == "old 1"
    for name, content in (("share/awkward/words.txt", "words\n"), ("etc/awkward.conf", "setting = 1\n")):
        with open(f"{env.path}/{name}", encoding="utf-8") as file:
            assert file.read() == content
    assert os.path.isfile(f"{env.path}/include/site/python{env.version}/awkward/awkward.h")
    assert env.run("import awkward_native; print(awkward_native.NATIVE)").strip() == "True"
    code = "import importlib.metadata as m; print(m.distribution('awkward').read_text('INSTALLER').strip())"
    assert env.run(code).strip() == "pipm"
    assert os.path.isfile(env.file("awkward-1.0.dist-info/REQUESTED"))
    assert_record(env, "awkward-1.0.dist-info")
    for private in ("awkward_start.pth", "awkward-1.0.dist-info/RECORD"):
        assert os.stat(env.file(private)).st_nlink == 1
    assert os.stat(f"{env.path}/etc/awkward.conf").st_nlink == 1


def test_says_which_lock_it_went_by(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    pylock(base, wheels_in(f"{base}/wheels"))
    os.mkdir(f"{base}/below")
    here, below = (Pipm(store=pipm.store, cwd=folder) for folder in (base, f"{base}/below"))
    assert "Would make env from pylock.toml (3 changes)\n" in here("sync", "--env", "env", "-n").expect().out
    lines = here("sync", "--env", "env").expect().out.splitlines()
    assert lines[0].startswith(f"Made {base}/env from pylock.toml by ")
    assert lines[1:] == [" + awkward 1.0", " + first 1.0", " + other 2.0", "Fetched 3 distributions"]
    again = below("sync", "--env", f"{base}/env").expect().out
    assert again.startswith(f"Nothing to do: {base}/env has all 3 distributions of {base}/pylock.toml [")
    make_wheel(f"{base}/wheels", "more==1.0", package("more"))
    pylock(base, [f"{base}/wheels/{name}" for name in os.listdir(f"{base}/wheels")])
    assert here("sync", "--env", "env").expect().out.splitlines()[1:] == [
        *(" + more 1.0", "Fetched 1 distribution, 3 were in the store")
    ]


def test_a_second_sync_writes_nothing(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    lock, env = pylock(base, wheels_in(f"{base}/wheels")), f"{base}/env"
    sync(pipm, lock, env)
    before = {row.path: row.stat(follow_symlinks=False) for row in walk(env)}
    done = sync(pipm, lock, env)
    assert (done["added"], done["unchanged"], done["files"]) == ([], 3, 0)
    after = {row.path: row.stat(follow_symlinks=False) for row in walk(env)}
    assert {p: s.st_ctime_ns for p, s in after.items()} == {p: s.st_ctime_ns for p, s in before.items()}


def test_an_included_file_that_changed(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    first, other, _ = wheels_in(f"{base}/wheels")
    lines = [f"{os.path.basename(path).split('-')[0]} @ file://{path}\n" for path in (first, other)]
    with open(f"{base}/requirements.txt", "w", encoding="utf-8") as file:
        file.write("-r base.txt\n")
    for count in (1, 2):
        with open(f"{base}/base.txt", "w", encoding="utf-8") as file:
            file.writelines(lines[:count])
        done = sync(pipm, f"{base}/requirements.txt", f"{base}/env")
        assert names(done["added"]) == [("first", "other")[count - 1]]


def test_sync_is_exact(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    first, other, awkward = wheels_in(f"{base}/wheels")
    newer = make_wheel(f"{base}/wheels", "first==1.1", package("first", seed=2))
    env = synced(f"{base}/env")
    sync(pipm, pylock(f"{base}/a", [first, other]), env.path)
    with open(env.file("first/stranger.txt"), "w", encoding="utf-8") as file:
        file.write("mine")
    install(env, "pip==1.0", {"pip/__init__.py": b""})
    install(env, "surplus==1.0", {"surplus/__init__.py": b"", "surplus/__pycache__/x.pyc": b""})
    os.unlink(env.file("other/module_1.py"))
    os.unlink(env.file("other/tool.sh"))
    with open(env.file("other/tool.sh"), "w", encoding="utf-8") as file:
        file.write("of another size")
    stored = snapshot(f"{pipm.store}/v1/objects")

    lock = pylock(f"{base}/b", [newer, other, awkward])
    plan = sync(pipm, lock, env.path, "-n")
    done = sync(pipm, lock, env.path)
    for key in ("added", "replaced", "removed"):
        assert plan[key] == done[key] or key == "added"
    assert done["replaced"] == [{"name": "first", "version": "1.1", "old_version": "1.0"}]
    assert (names(done["added"]), names(done["repaired"])) == (["awkward"], ["other"])
    assert names(done["removed"]) == ["surplus"]
    assert_holds(env, [newer, other, awkward])
    assert not os.path.exists(env.file("surplus"))
    assert not os.path.exists(env.file("first-1.0.dist-info"))
    assert os.path.isfile(env.file("pip/__init__.py"))
    with open(env.file("first/stranger.txt"), encoding="utf-8") as file:
        assert file.read() == "mine"
    assert stored.items() <= snapshot(f"{pipm.store}/v1/objects").items()
    assert sync(pipm, lock, env.path)["unchanged"] == 3


def test_a_dry_run_changes_nothing(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    lock = pylock(base, wheels_in(f"{base}/wheels"))
    plan = sync(pipm, lock, f"{base}/env", "-n")
    assert (names(plan["added"]), plan["fetched"]) == (["awkward", "first", "other"], 3)
    assert not os.path.exists(f"{base}/env")


def test_what_the_store_has_needs_no_socket(pipm: Pipm, tmp_path: object) -> None:
    if shutil.which("strace") is None:
        pytest.skip("no strace")
    base = str(tmp_path)
    lock = pylock(base, wheels_in(f"{base}/wheels"))
    sync(pipm, lock, f"{base}/env")
    shutil.rmtree(f"{base}/wheels")
    python, variables = interpreter_for(None)
    command = (python, "-m", "pipm", "sync", lock, "--env", f"{base}/second", "--json")
    trace = ("strace", "-f", "-qq", "-e", "trace=socket,connect,execve", "-o", f"{base}/trace")
    check(*trace, *command, environ=variables | {"PIPM_STORE": pipm.store})
    with open(f"{base}/trace", encoding="utf-8") as file:
        calls = file.read().splitlines()
    own, _, first = calls[0].partition(" ")
    assert "execve(" in first
    # Another program, bash for one, may ask the machine's name service by a socket that leads no farther.
    assert [call for call in calls if "AF_INET" in call] == []
    assert [call for call in calls if call.startswith((f"{own} socket(", f"{own} connect("))] == []
    assert [call for call in calls if '"pip"' in call] == []


def test_two_files_of_one_path(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    same = {"common/__init__.py": b"SAME = 1\n"}
    wheels = [
        make_wheel(f"{base}/wheels", "one==1.0", same | {"tests/__init__.py": b"ONE = 1\n"}),
        make_wheel(f"{base}/wheels", "two==1.0", same | {"tests/__init__.py": b"TWO = 22\n"}),
    ]
    lock = pylock(base, wheels)
    refused = pipm("sync", lock, "--env", f"{base}/env", "--json")
    assert_refused(refused, "one 1.0", "two 1.0", "tests/__init__.py", "--clobber")
    env = synced(f"{base}/env")
    sync(pipm, lock, env.path, "--clobber")
    assert env.run("import tests; print(tests.TWO)").strip() == "22"
    for words in (("-n",), ()):
        again = sync(pipm, lock, env.path, "--clobber", *words)
        assert (again["unchanged"], again["repaired"]) == (2, [])
    assert_refused(pipm("sync", lock, "--env", env.path, "-n", "--json"), "tests/__init__.py", "--clobber")


def test_a_wheel_that_is_not_what_the_lock_promises(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    first, other, _ = wheels_in(f"{base}/wheels")
    env = synced(f"{base}/env")
    sync(pipm, pylock(f"{base}/good", [other]), env.path)
    before = snapshot(env.path)
    bad = pylock(f"{base}/bad", [first, other], hashes={os.path.basename(first): "0" * 64})
    refused = pipm("sync", bad, "--env", env.path, "--json")
    assert_refused(refused, f"first 1.0 is not the file in the lock: its hash is {file_digest(first)}")
    assert snapshot(env.path) == before
    assert damage(pipm.store) == []


def test_a_wheel_whose_record_is_wrong(pipm: Pipm, tmp_path: object) -> None:
    """The lock has the archive's hash: its content counts, and a note names the difference."""
    base = str(tmp_path)
    wheel = make_wheel(f"{base}/wheels", "first==1.0", package("first"))
    lying = f"{base}/lying/{os.path.basename(wheel)}"
    os.mkdir(os.path.dirname(lying))
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(lying, "w") as target:
        for member in source.infolist():
            added = b"# added by hand\n" if member.filename == "first/module_1.py" else b""
            target.writestr(member, source.read(member) + added)
    assert_refused(pipm("store", "add", lying, "--json"), "first/module_1.py", "RECORD")
    lock, env = pylock(base, [lying]), synced(f"{base}/env")
    done = sync(pipm, lock, env.path)
    assert done["mismatches"] == [
        {"wheel": os.path.basename(wheel), "path": "first/module_1.py", "reason": "differs from RECORD"}
    ]
    assert_holds(env, [lying])
    again = sync(pipm, lock, env.path)
    assert (again["unchanged"], again["mismatches"]) == (1, [])
    pipm("verify", "--full", env.path).expect()


def test_a_truncated_wheel(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    first, other, _ = wheels_in(f"{base}/wheels")
    os.truncate(first, os.path.getsize(first) // 2)
    result = pipm("sync", pylock(base, [first, other]), "--env", f"{base}/env", "--json").expect(FAILED)
    assert "first" in result.error["message"]
    assert not os.path.exists(f"{base}/env")
    assert damage(pipm.store) == []


def test_an_adopted_entry_stands_for_no_hash(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    wheel = make_wheel(f"{base}/wheels", "first==1.0", package("first"))
    lock = pylock(base, [wheel])
    adopted = make_environment(f"{base}/adopted")
    install(adopted, "first==1.0", package("first"))
    pipm.adopt(adopted.path, mode="hardlink")
    os.rename(wheel, f"{wheel}.away")
    pipm("sync", lock, "--env", f"{base}/env", "--json").expect(FAILED)
    trusting = sync(pipm, lock, f"{base}/trusting", "--trust-adopted")
    assert (names(trusting["added"]), trusting["fetched"]) == (["first"], 0)
    os.rename(f"{wheel}.away", wheel)
    assert sync(pipm, lock, f"{base}/env")["fetched"] == 1
    assert sync(pipm, lock, f"{base}/third")["fetched"] == 0


def test_a_partial_entry_serves_no_sync(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    wheel = make_wheel(f"{base}/wheels", "first==1.0", package("first"))
    adopted = make_environment(f"{base}/adopted")
    install(adopted, "first==1.0", package("first"))
    os.unlink(adopted.file("first/module_1.py"))
    pipm.adopt(adopted.path, mode="hardlink")
    done = sync(pipm, pylock(base, [wheel]), f"{base}/env", "--trust-adopted")
    assert done["fetched"] == 1
    assert_holds(synced(f"{base}/env"), [wheel])


@pytest.mark.parametrize("mode", ["hardlink", "symlink", "copy"])
def test_every_mode_gives_the_same_environment(pipm: Pipm, tmp_path: object, mode: str) -> None:
    base = str(tmp_path)
    wheels = wheels_in(f"{base}/wheels")
    env = synced(f"{base}/env")
    done = sync(pipm, pylock(base, wheels), env.path, "--link-mode", mode)
    assert done["link_mode"] == mode
    assert_holds(env, wheels)
    assert stale_bytecode(env) == [env.file("awkward_templates/broken.py")]
    path = env.file("first/__init__.py")
    assert os.path.islink(path) == (mode == "symlink")
    assert (os.stat(path).st_nlink > 1) == (mode != "copy")
    assert sync(pipm, pylock(base, wheels), env.path, "--link-mode", mode)["unchanged"] == 3


def test_without_bytecode(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    lock = pylock(base, wheels_in(f"{base}/wheels"))
    sync(pipm, lock, f"{base}/env", "--no-compile")
    assert [row.path for row in walk(f"{base}/env") if row.name.endswith(".pyc")] == []
    done = sync(pipm, lock, f"{base}/env")
    assert names(done["repaired"]) == ["awkward", "first", "other"]
    assert stale_bytecode(synced(f"{base}/env")) == [
        f"{synced(f'{base}/env').site}/awkward_templates/broken.py"
    ]


def test_other_tools_and_release_work_afterwards(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    first, other, awkward = wheels_in(f"{base}/wheels")
    env = synced(f"{base}/env")
    sync(pipm, pylock(base, [first, other, awkward]), env.path, "--link-mode", "hardlink")
    stored = snapshot(f"{pipm.store}/v1/objects")
    python, variables = interpreter_for(None)
    pip = (python, "-m", "pip", "--python", env.python)
    assert "No broken requirements" in check(*pip, "check", environ=variables)
    check(*pip, "uninstall", "-q", "-y", "other", environ=variables)
    assert not os.path.exists(env.file("other"))
    pipm.release(env.path)
    path = env.file("first/module_1.py")
    assert os.stat(path).st_nlink == 1
    with open(path, "ab") as file:
        file.write(b"PATCHED = 1\n")
    assert snapshot(f"{pipm.store}/v1/objects") == stored
    assert file_digest(first) in os.listdir(f"{pipm.store}/v1/by-wheel")


def test_no_lock_here(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    result = Pipm(store=pipm.store, cwd=base)("sync", f"{base}/pylock.toml", "--json")
    assert_refused(result, "pylock.toml")
    assert os.path.isdir(ROOT)


def test_a_new_environment_with_pip_and_a_lock(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    wheels = wheels_in(f"{base}/wheels")
    env = synced(f"{base}/env")
    done = pipm("venv", env.path, "--lock", pylock(base, wheels), "--json").expect().json
    assert (done["command"], names(done["added"])) == ("sync", ["awkward", "first", "other"])
    assert_holds(env, wheels)
    assert check(env.python, "-m", "pip", "--version").startswith("pip ")
    assert_refused(pipm("venv", f"{base}/none", "--lock", f"{base}/no.txt", "--json"), "no.txt")
    assert not os.path.exists(f"{base}/none")
