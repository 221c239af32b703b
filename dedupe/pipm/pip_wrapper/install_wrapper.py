"""Installing and removing the wrapper of an environment's pip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pipm.env.permission import check_runnable
from pipm.errors import InterpreterError, NotAnEnvironmentError
from pipm.fs.beneath import directory_beneath, open_directory_beneath
from pipm.fs.durability import Durability, write_durably
from pipm.fs.leftovers import remove_torn_writes
from pipm.fs.opened import opened, opened_folder
from pipm.fs.removal import remove_tree
from pipm.fs.share_file import ensure_folder, forget, forget_folder

if TYPE_CHECKING:
    from pipm.env.environment import Environment

FORMAT = 1
FOLDER = ".pipm"
SETTINGS = "pip.json"
PATH_FILE = "000_pipm_pip.pth"
"""The name sorts before other path files, because these may import a package that pip is replacing."""
PACKAGE = "_pipm_pip"
MODULES = {"store_reader.py": "store_reader.py", "hook.py": "pip_hook.py", "__init__.py": "pip_watch.py"}
"""The modules of the package in ``.pipm`` and their files here; each comes before those that import it."""
_FIND = f"""\
folder = sys.prefix + "/{FOLDER}"
sys.path.insert(0, folder)
try:
 from {PACKAGE} import find
except Exception as error:
 if sys.stderr and not isinstance(error, ImportError):
  sys.stderr.write(f"pipm: pip works without the store: {{type(error).__name__}}: {{error}}\\n")
 def find(name, path, target): pass
finally:
 sys.path.remove(folder)
sys.{PACKAGE}.find_spec = find
"""
"""Runs at the first import of a module of pip. If the package was removed by hand, pip works as usual."""
_WATCH = f"""\
def find(name, path=None, target=None):
 if name[:5] == "pip._":
  import sys
  exec({_FIND!r})
  return sys.{PACKAGE}.find_spec(name, path, target)
sys.{PACKAGE} = find.find_spec = find
sys.meta_path.insert(0, find)
"""
_LINE = f'import sys; hasattr(sys, "{PACKAGE}") or exec({_WATCH!r})\n'
"""Runs at each start of the environment's interpreter; it defines a short function that waits for pip.

Before Python 3.15 `site` runs the line twice; the second time it does nothing.
"""
_SECONDS = 60.0


def is_wrapped(environment: Environment) -> bool:
    """Return whether the environment's pip is wrapped."""
    return os.path.isfile(f"{environment.path}/{FOLDER}/{SETTINGS}")


def install_wrapper(environment: Environment, store_path: str, link_mode: str) -> None:
    """Wrap the environment's pip for the store at *store_path*, or update an older wrapper.

    An interpreter that starts meanwhile uses the whole wrapper or none. If the environment's interpreter
    cannot load the wrapper, it is removed, and InterpreterError is raised.
    """
    settings = {
        "version": FORMAT,
        "store": store_path,
        "link_mode": link_mode,
        "sites": environment.sites,
        "command": [sys.executable, "-I", "-m", "pipm"],
    }
    try:
        with opened_folder(environment.path, follow=False) as root:
            ensure_folder(root, FOLDER)
            ensure_folder(root, f"{FOLDER}/{PACKAGE}")
            folders = (FOLDER, f"{FOLDER}/{PACKAGE}")
            remove_torn_writes(root, folders, before=time.time() - _SECONDS)
            _write(root, FOLDER, SETTINGS, json.dumps(settings, indent=1).encode("ascii"))
            new = [
                _write(root, f"{FOLDER}/{PACKAGE}", name, _source(source)) for name, source in MODULES.items()
            ]
            if any(new):
                _try_it(environment)
            for site in environment.sites:
                _write(root, site, PATH_FILE, _LINE.encode("ascii"))
    except BaseException:
        uninstall_wrapper(environment)
        raise


def uninstall_wrapper(environment: Environment) -> None:
    """Remove the wrapper, if there is one."""
    with opened_folder(environment.path, follow=False) as root:
        for site in environment.sites:
            _forget_in(root, site, PATH_FILE)
        with directory_beneath(root, FOLDER) as folder:
            if folder is not None:
                forget(folder, SETTINGS)
                with directory_beneath(folder, PACKAGE) as package:
                    is_there = package is not None
                if is_there:
                    remove_tree(folder, PACKAGE)
        forget_folder(root, FOLDER)


def _source(name: str) -> bytes:
    with open(f"{os.path.dirname(__file__)}/runtime/{name}", "rb") as stream:
        return stream.read()


def _write(root: int, folder: str, name: str, data: bytes) -> bool:
    """Write the file unless it has this content; return whether it was written."""
    with opened(open_directory_beneath(root, folder)) as directory:
        with suppress(FileNotFoundError):
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            with open(file, "rb") as stream:
                if stream.read() == data:
                    return False
        write_durably(directory, name, data, Durability.WHOLE, mode=0o666)
    return True


def _forget_in(root: int, folder: str, name: str) -> None:
    with directory_beneath(root, folder) as directory:
        if directory is not None:
            forget(directory, name)


def _try_it(environment: Environment) -> None:
    """Import the modules with the environment's interpreter, to test and to compile them."""
    python = environment.interpreter
    if python is None:
        raise NotAnEnvironmentError(
            f"The interpreter of {environment.path} does not run", hint="create the environment again"
        )
    check_runnable(python)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [
            python,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, sys.prefix + '/{FOLDER}'); import {PACKAGE}.hook",
        ],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it does not start"]
        raise InterpreterError(
            f"The wrapper of pip does not work in {environment.path}: {lines[-1]}",
            hint="the wrapper needs Python 3.9 or newer; adopt it with --no-wrap-pip",
        )
