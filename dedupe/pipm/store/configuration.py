"""Settings: a variable overrides the project's file, which overrides the user's file.

The user's file is ``$XDG_CONFIG_HOME/pipm/pipm.toml``; a project has ``pipm.toml``, or ``[tool.pipm]`` in
pyproject.toml, in the current folder or the nearest one above it.

Each `pipm run` imports this module: it must not import modules that take milliseconds (dataclasses, typing,
re).
"""

from __future__ import annotations

import os

from pipm.errors import UsageError
from pipm.fs.home import config_home
from pipm.fs.trust import changed_by_others, foreign_part

TYPE_CHECKING = False  # importing it from typing takes milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLES = {
    "store": "PIPM_STORE",
    "layers": "PIPM_STORE_LAYERS",
    "link-mode": "PIPM_LINK_MODE",
    "exclude": "PIPM_EXCLUDE",
    "remote": "PIPM_REMOTE",
    "trusted-keys": "PIPM_TRUSTED_KEYS",
    "plugins": "PIPM_PLUGINS",
}
"""The settings, and the variable of each."""
_LISTS = {"layers": os.pathsep, "exclude": os.pathsep, "trusted-keys": ",", "plugins": ","}
"""The settings that are lists, and the separator in their variables."""
OF_PROJECTS = frozenset({"link-mode", "exclude"})
"""The settings that a project's file may contain; its author must not choose stores and remotes."""
PLUGINS = ("hatch", "pdm", "poetry", "tox", "virtualenv")
"""The tools that have a plug-in; the setting ``plugins`` turns it on."""
_tables: dict[str, Mapping[str, object]] = {}


def setting(key: str) -> str:
    """Return the value of *key* in the form of its variable; "" if it is not set."""
    return find_setting(key)[0]


def find_setting(key: str) -> tuple[str, str]:
    """Return the value of *key* and its source, a variable or a file; raise UsageError if invalid."""
    if VARIABLES[key] in os.environ:
        return os.environ[VARIABLES[key]], VARIABLES[key]
    for path in settings_files() if key in OF_PROJECTS else [user_file()]:
        value = _table(path).get(key)
        if value is not None:
            return str(value), path
    return "", ""


def words(key: str) -> list[str]:
    """Return the setting *key* as a list."""
    return [word for word in setting(key).split(_LISTS[key]) if word]


def plugins() -> list[str]:
    """Return the tools whose plug-in is on; raise UsageError for a tool without a plug-in."""
    found = words("plugins")
    for word in found:
        if word not in PLUGINS:
            raise UsageError(f"There is no plug-in for {word!r}", hint=f"there are {', '.join(PLUGINS)}")
    return found


def user_file() -> str:
    """Return the path of the user's file, which may be missing."""
    return f"{config_home()}/pipm/pipm.toml"


def settings_files() -> Iterator[str]:
    """Yield the project's file, if no other user can change it, and the user's file."""
    folder = os.getcwd()
    while True:
        found = next((path for path in _candidates(folder) if _table(path)), None)
        if found is not None or folder == "/":
            break
        folder = os.path.dirname(folder)
    if found is not None and found != user_file():
        yield found
    yield user_file()


def _candidates(folder: str) -> Iterator[str]:
    """Yield the files of *folder* that may contain settings of a project."""
    for name in ("pipm.toml", "pyproject.toml"):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and changed_by_others(path) is None:
            yield path


def _table(path: str) -> Mapping[str, object]:
    """Return the checked settings of a file in the form of their variables; raise UsageError."""
    if path not in _tables:
        _tables[path] = _checked(path) if os.path.lexists(path) else {}
    return _tables[path]


def _checked(path: str) -> Mapping[str, object]:
    is_users = path == user_file()
    foreign = foreign_part(path) if is_users else None
    if foreign is not None:
        raise UsageError(
            f"{path} is not read: another user can change {foreign}", hint=f"chmod go-w {foreign}"
        )
    found = _read(path)
    for key, value in found.items():
        if key not in VARIABLES:
            raise UsageError(f"{path}: there is no setting {key!r}", hint=f"there are {', '.join(VARIABLES)}")
        if not is_users and key not in OF_PROJECTS:
            raise UsageError(
                f"{path}: a project cannot set {key}",
                hint=f"set it in {user_file()}, or by {VARIABLES[key]}",
            )
        if key in _LISTS:
            if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
                raise UsageError(f"{path}: {key} is not a list of texts", hint=f'such as {key} = ["…"]')
            found[key] = _LISTS[key].join(value)
        elif not isinstance(value, str):
            raise UsageError(f"{path}: {key} is not a text", hint=f'such as {key} = "…"')
    return found


def _read(path: str) -> dict[str, object]:
    from pipm.fs.beneath import read_file  # noqa: PLC0415 - most have no such file

    data = read_file(os.path.realpath(path))
    is_pyproject = os.path.basename(path) == "pyproject.toml"
    if data is None or (is_pyproject and b"pipm" not in data):
        return {}
    import tomllib  # noqa: PLC0415 - likewise

    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        if is_pyproject:  # the tools of the project report it
            return {}
        raise UsageError(f"{path}: {error}", hint='it is TOML: link-mode = "hardlink"') from error
    for name in ("tool", "pipm") if is_pyproject else ():
        inner = table.get(name, {})
        table = inner if isinstance(inner, dict) else {}
    return table
