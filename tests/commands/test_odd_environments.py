"""Unusual environments and distributions: handled, or refused with a clear reason."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from support.installers import find_version, pip_install, venv
from support.locks import pylock
from support.pipm import DONE, PARTLY, Pipm, assert_refused
from support.process import check
from support.snapshot import assert_bytecode_names_kept, assert_kept, changes, fingerprint, snapshot
from support.store import in_store, unshared
from support.synthetic import (
    dist_info,
    import_all,
    install,
    make_environment,
    make_wheel,
    package,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support.synthetic import Environment


def with_alpha(path: str) -> Environment:
    """An environment with one distribution."""
    environment = make_environment(path)
    install(environment, "alpha==1.0", package("alpha"))
    return environment


def assert_adopted(pipm: Pipm, environment: Environment, *codes: int) -> None:
    """Adopt by hardlinks and check that all was kept and all was shared."""
    before = snapshot(environment.path)
    pipm.adopt(environment.path, mode="hardlink", codes=codes)
    assert_kept(before, environment.path)
    assert_bytecode_names_kept(before, environment.path)
    assert unshared(environment.site, pipm.store) == []


def test_namespace_packages_over_several_distributions(tmp_path: Path, pipm: Pipm) -> None:
    environment = make_environment(str(tmp_path / "env"))
    for name in ("one", "two", "three"):
        install(environment, f"space-{name}==1.0", {f"space/{name}.py": b"x = 1\n" * 900})
    assert_adopted(pipm, environment)
    environment.run("import space.one, space.two, space.three")


def test_a_single_module_distribution(tmp_path: Path, pipm: Pipm) -> None:
    environment = make_environment(str(tmp_path / "env"))
    install(environment, "single==1.0", {"single.py": b"x = 1\n" * 900})
    environment.compile()
    assert_adopted(pipm, environment)
    fresh = fingerprint(environment.path)
    environment.run("import single")
    assert changes(fresh, fingerprint(environment.path)) == []


def test_data_files_and_scripts(tmp_path: Path, pipm: Pipm) -> None:
    """`share/…` may be shared; a script holds the environment's path and is its own."""
    environment = make_environment(str(tmp_path / "env"))
    script = f"#!{environment.python}\nprint('ran')\n".encode()
    rows = "../../../bin/tool,,\n../../../share/alpha/page.txt,,\n"
    install(
        environment,
        "alpha==1.0",
        package("alpha"),
        record=lambda text: f"{text}{rows}".encode(),
    )
    write(f"{environment.path}/bin/tool", script, mode=0o755)
    write(f"{environment.path}/share/alpha/page.txt", b"page\n" * 900)
    assert_adopted(pipm, environment)
    assert os.stat(f"{environment.path}/bin/tool").st_nlink == 1
    assert check(f"{environment.path}/bin/tool") == "ran\n"


def test_an_editable_install(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(str(tmp_path / "env"))
    project = str(tmp_path / "project")
    write(f"{project}/mine.py", b"x = 1\n" * 900)
    info = dist_info("mine", "0")
    direct = f'{{"url": "file://{project}", "dir_info": {{"editable": true}}}}'
    install(environment, "mine==0", {"mine.pth": f"{project}\n".encode()})
    write(environment.file(f"{info}/direct_url.json"), direct.encode())
    before, sources = snapshot(environment.path), fingerprint(project)
    pipm.adopt(environment.path, mode="hardlink")
    assert snapshot(environment.path) == before
    assert changes(sources, fingerprint(project)) == []
    assert os.stat(environment.file("mine.pth")).st_nlink == 1
    assert environment.run("import mine; print(mine.__file__)").strip() == f"{project}/mine.py"
    assert in_store(environment.file("alpha/module_1.py"), pipm.store)


def test_an_egg_link_and_an_egg_info(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(str(tmp_path / "env"))
    write(environment.file("old.py"), b"x = 1\n" * 900)
    write(environment.file("old-1.0.egg-info/PKG-INFO"), b"Name: old\nVersion: 1.0\n")
    write(environment.file("old-1.0.egg-info/installed-files.txt"), b"../old.py\n")
    write(environment.file("older-1.0.egg-info"), b"Name: older\nVersion: 1.0\n")
    write(environment.file("linked.egg-link"), b"/nowhere\n")
    before = snapshot(environment.path)
    pipm.adopt(environment.path, mode="hardlink", codes=(DONE, PARTLY))
    assert snapshot(environment.path) == before
    assert in_store(environment.file("alpha/module_1.py"), pipm.store)
    environment.run("import old")


def test_names_with_spaces_and_non_ascii(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(str(tmp_path / "my projects" / "ümläut 環境"))
    environment.compile()
    assert_adopted(pipm, environment)
    import_all(environment)


def test_a_symlinked_environment(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(str(tmp_path / "real"))
    link = str(tmp_path / "link")
    os.symlink(environment.path, link)
    before = snapshot(environment.path)
    pipm.adopt(link, mode="hardlink")
    assert os.readlink(link) == environment.path
    assert snapshot(environment.path) == before
    assert unshared(environment.site, pipm.store) == []
    again = pipm.adopt(environment.path, mode="hardlink").environment
    assert again["files_shared"] == 0  # the same environment under its other name


def test_one_environment_named_twice(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(str(tmp_path / "env"))
    pipm.adopt(environment.path, f"{environment.path}/", mode="hardlink")
    assert unshared(environment.site, pipm.store) == []


def test_a_relative_path(tmp_path: Path, store: str) -> None:
    environment = with_alpha(str(tmp_path / "project/.venv"))
    Pipm(store=store, cwd=str(tmp_path / "project")).adopt(".venv", mode="hardlink")
    assert unshared(environment.site, store) == []


def test_a_symlinked_package_is_not_followed(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(str(tmp_path / "env"))
    elsewhere = str(tmp_path / "elsewhere")
    write(f"{elsewhere}/module.py", b"x = 1\n" * 900)
    os.symlink(elsewhere, environment.file("linked"))
    before, theirs = snapshot(environment.path), fingerprint(elsewhere)
    pipm.adopt(environment.path, mode="hardlink", codes=(DONE, PARTLY))
    assert snapshot(environment.path) == before
    assert changes(theirs, fingerprint(elsewhere)) == []


def test_an_environment_without_distributions(tmp_path: Path, pipm: Pipm) -> None:
    environment = make_environment(str(tmp_path / "env"))
    row = pipm.adopt(environment.path, mode="hardlink").environment
    assert (row["distributions"], row["files_shared"]) == (0, 0)


def test_an_environment_whose_interpreter_is_gone(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(str(tmp_path / "env"))
    environment.compile()
    os.unlink(environment.python)
    os.symlink("/nowhere/python", environment.python)
    before = snapshot(environment.path)
    result = pipm("adopt", environment.path, "--link-mode", "hardlink", "--json")
    assert snapshot(environment.path) == before
    if result.code == 1:
        assert_refused(result, "python")
    else:
        result.expect(DONE, PARTLY)
        assert in_store(environment.file("alpha/data/table.bin"), pipm.store)


def test_a_conda_environment_is_refused_or_right(tmp_path: Path, pipm: Pipm) -> None:
    environment = with_alpha(str(tmp_path / "env"))
    os.unlink(f"{environment.path}/pyvenv.cfg")
    write(f"{environment.path}/conda-meta/alpha-1.0-0.json", b'{"name": "alpha"}')
    write(f"{environment.path}/conda-meta/history", b"")
    before = fingerprint(environment.path)
    result = pipm("adopt", environment.path, "--link-mode", "hardlink", "--json")
    assert_refused(result, "conda")
    assert changes(before, fingerprint(environment.path)) == []


def test_a_committed_environment_in_a_git_worktree(tmp_path: Path, pipm: Pipm) -> None:
    repository, worktree = str(tmp_path / "repository"), str(tmp_path / "worktree")
    environment = make_environment(f"{repository}/.venv")
    install(environment, "alpha==1.0", package("alpha"), executable=("alpha/tool.sh",))
    git = ("git", "-C", repository, "-c", "user.name=t", "-c", "user.email=t@example.org")
    check("git", "init", "-q", repository)
    check(*git, "add", "-A", "-f")
    check(*git, "commit", "-q", "-m", "first")
    check(*git, "worktree", "add", "-q", worktree)
    for folder in (repository, worktree):
        path = f"{folder}/.venv"
        os.makedirs(f"{path}/bin", exist_ok=True)
        pipm.adopt(path, mode="hardlink")
        assert unshared(find_version(path).site, pipm.store) == []
        assert check("git", "-C", folder, "status", "--porcelain") == ""
        pipm.release(path)
        assert check("git", "-C", folder, "status", "--porcelain") == ""


def test_venvs_own_shapes(tmp_path: Path, pipm: Pipm) -> None:
    """Made by the standard library: one with copied interpreter, one with system packages."""
    wheel = make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))
    options = {"copies": "--copies", "system": "--system-site-packages"}
    base = venv(str(tmp_path / "base"))
    for name, option in options.items():
        path = str(tmp_path / name)
        check(base.python, "-m", "venv", "--without-pip", option, path)
        environment = find_version(path)
        target = ("--python", environment.python)
        check(base.python, "-m", "pip", "-q", *target, "install", "--no-index", wheel)
        assert_adopted(pipm, environment)
        environment.run("import alpha.module_1")


def test_an_environment_with_pip_itself(tmp_path: Path, pipm: Pipm) -> None:
    environment = venv(str(tmp_path / "env"))
    before = snapshot(environment.path)
    pipm.adopt(environment.path, mode="hardlink")
    assert_kept(before, environment.path)
    assert_bytecode_names_kept(before, environment.path)
    wheel = make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))
    pip_install(environment, "--no-index", wheel)
    assert "alpha" in check(environment.python, "-m", "pip", "list")


def test_an_upgrade_that_left_the_interpreter(tmp_path: Path, pipm: Pipm) -> None:
    """`python3.99 -m venv --upgrade` writes its version into pyvenv.cfg, but bin/python stays the same."""
    environment = make_environment(str(tmp_path / "env"))
    with open(f"{environment.path}/pyvenv.cfg", "a", encoding="ascii") as stream:
        stream.write("version = 3.99.0\n")
    other = f"{environment.path}/lib/python3.99/site-packages"
    os.makedirs(other)
    lock = pylock(str(tmp_path), [make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))])
    for command in (("sync", lock, "--env"), ("adopt", "--link-mode", "finder"), ("sync", lock, "--env")):
        done = pipm(*command, environment.path).expect()
        assert f"says Python 3.99.0, its interpreter is {environment.version}: pipm uses" in done.err
        assert environment.run("import alpha; print('here')") == "here\n"
        assert os.listdir(other) == []


def test_an_interpreter_of_another_version_than_site_packages(tmp_path: Path, pipm: Pipm) -> None:
    """What a distribution's upgrade of /usr/bin/python3 makes of an environment."""
    environment = make_environment(str(tmp_path / "env"))
    os.rename(environment.site.rpartition("/")[0], f"{environment.path}/lib/python3.99")
    lock = pylock(str(tmp_path), [make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))])
    before = snapshot(environment.path)
    done = pipm("sync", lock, "--env", environment.path)
    done.expect(1)
    assert "has no site-packages there" in done.err
    assert f"hint: python{environment.version} -m venv --upgrade {environment.path}" in done.err
    assert_kept(before, environment.path)


def test_scripts_of_a_relocatable_environment(tmp_path: Path, pipm: Pipm) -> None:
    """`uv venv --relocatable`: scripts find the interpreter beside them, like uv's own."""
    environment = make_environment(str(tmp_path / "env"))
    with open(f"{environment.path}/pyvenv.cfg", "a", encoding="ascii") as stream:
        stream.write("relocatable = true\n")
    files = {
        "tool.py": b"import sys\ndef main(): print(sys.prefix, *sys.argv[1:])\n",
        "tool-1.dist-info/entry_points.txt": b"[console_scripts]\ntool = tool:main\n",
        "tool-1.data/scripts/own": b"#!python\nimport tool\ntool.main()\n",
    }
    lock = pylock(str(tmp_path), [make_wheel(str(tmp_path), "tool==1", files)])
    pipm("sync", lock, "--env", environment.path).expect()
    moved = str(tmp_path / "moved to")
    os.rename(environment.path, moved)
    os.symlink(f"{moved}/bin/tool", tmp_path / "link")
    for script in (f"{moved}/bin/tool", f"{moved}/bin/own", str(tmp_path / "link")):
        assert check(script, "a b") == f"{moved} a b\n"
