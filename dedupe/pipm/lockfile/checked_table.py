"""Lock files as tables: types are checked when values are read, and errors name the place in the file."""

from __future__ import annotations

import json
import os
import re
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from pipm.core.addresses import AddressError
from pipm.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LARGEST = 256 << 20
"""Maximum bytes of a lock; real ones have some megabytes."""

_HASH = re.compile(r"(?P<algorithm>md5|sha1|sha224|sha256|sha384|sha512):(?P<digest>[0-9a-fA-F]+)")
_DIGITS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, slots=True)
class LockTable:
    """A mapping in a lock file: ``file`` is the lock's path, ``where`` the place in it (``package[3]``)."""

    content: Mapping[str, Any]
    file: str
    where: str = ""

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Convert AddressError, raised for a value that pipm must not use, to LockError with this place."""
        try:
            yield
        except AddressError as error:
            raise self.error(str(error)) from None

    def error(self, message: str, *, key: str = "", hint: str = "lock again") -> LockError:
        """Return an error that names this place."""
        place = ".".join(filter(None, (self.where, key)))
        return LockError(": ".join(filter(None, (self.file, place, message))), hint=hint)

    @property
    def folder(self) -> str:
        """The folder of the lock file, to which its paths are relative."""
        return os.path.dirname(os.path.abspath(self.file))

    def text(self, key: str) -> str | None:
        """Return the string at *key*, or None."""
        value = self.content.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(key, "a string")

    def required(self, key: str) -> str:
        """Return the string at *key*; raise LockError if it is missing."""
        value = self.text(key)
        if not value:
            raise self.error(f"{key} is missing")
        return value

    def flag(self, key: str) -> bool:
        """Return the boolean at *key*, by default False."""
        value = self.content.get(key, False)
        if isinstance(value, bool):
            return value
        raise self._wrong(key, "true or false")

    def number(self, key: str) -> int | None:
        """Return the integer at *key*, or None."""
        value = self.content.get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self._wrong(key, "an integer")

    def texts(self, key: str) -> list[str]:
        """Return the list of strings at *key*, by default empty."""
        value = self.content.get(key)
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        raise self._wrong(key, "a list of strings")

    def requirements(self, key: str) -> list[str]:
        """Return the list of requirements (PEP 508) at *key*; pip must read each as one requirement."""
        from packaging.requirements import Requirement  # noqa: PLC0415 - only projects have them, no lock

        texts = self.texts(key)
        for text in texts:
            try:
                Requirement(text)
            except ValueError:
                raise self.error(f"{text!r} is not a valid requirement", key=key) from None
            if "${" in text or not text.isprintable():  # pip would read another requirement from a file
                raise self.error(
                    f"{text!r} has a variable or a line break, which only requirements.txt may have", key=key
                )
        return texts

    def table(self, key: str) -> LockTable:
        """Return the table at *key*, by default empty."""
        value = self.content.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(key, "a table")
        return LockTable(value, self.file, f"{self.where}.{key}" if self.where else key)

    def tables(self, key: str) -> list[LockTable]:
        """Return the list of tables at *key*, by default empty."""
        value = self.content.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, "a list of tables")
        place = f"{self.where}.{key}" if self.where else key
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                raise self.error(f"{key}[{index}] is not a table")
        return [LockTable(item, self.file, f"{place}[{index}]") for index, item in enumerate(value)]

    def children(self) -> Iterator[tuple[str, LockTable]]:
        """Return each key with its value, which must be a table."""
        return ((key, self.table(key)) for key in self.content)

    def name(self) -> str:
        """Return the distribution's ``name``, normalised (PEP 503)."""
        return self.normalised(self.required("name"))

    def normalised(self, name: str) -> str:
        """Normalise the name of a distribution, extra or group."""
        try:
            return canonicalize_name(name, validate=True)
        except InvalidName:
            raise self.error(f"{name!r} is not a valid name") from None

    def version(self, key: str = "version") -> str | None:
        """Return the distribution's version, normalised (PEP 440), or None."""
        text = self.text(key)
        if text is None:
            return None
        try:
            return str(Version(text))
        except ValueError:
            raise self.error(f"{text!r} is not a valid version") from None

    def hashed(self, text: str) -> tuple[str, str]:
        """Split ``sha256:…`` into algorithm and hexadecimal digest."""
        match = _HASH.fullmatch(text.strip())
        if match is None or len(match["digest"]) != _DIGITS[match["algorithm"]]:
            raise self.error(f"{text!r} is not a hash that pipm can check")
        return match["algorithm"], match["digest"].lower()

    def absolute(self, path: str) -> str:
        """Return the absolute path of *path*, which is relative to the lock file."""
        if "\0" in path:
            raise self.error(f"{path!r} is not a valid path")
        return os.path.normpath(os.path.join(self.folder, path))

    def beside(self, folder: str) -> LockTable:
        """Return an empty table for a file of the same name in *folder*."""
        return LockTable({}, os.path.join(folder, os.path.basename(self.file)))

    def check_known(self, kind: str, wanted: Iterable[str], known: Iterable[str]) -> None:
        """Raise LockError if *wanted* has an extra or group (*kind*) that is not in *known*."""
        for name in sorted(set(wanted) - set(known)):
            listed = ", ".join(sorted(known))
            hint = f"it has the {kind}s {listed}" if listed else f"it has no {kind}s"
            raise self.error(f"there is no {kind} {name}", hint=hint)

    def _wrong(self, key: str, wanted: str) -> LockError:
        kind = type(self.content[key]).__name__
        return self.error(f"{key} should be {wanted}, it is {kind}")


def load_toml(path: str) -> LockTable:
    """Read a TOML file; raise LockError with line and column if it is invalid."""
    return parse_toml(load_text(path), path, hint="lock again")


def parse_toml(text: str, path: str, *, hint: str) -> LockTable:
    """Parse the TOML document *text* of the file *path*; raise LockError with line, column and *hint*."""
    try:
        return LockTable(tomllib.loads(text), path)
    except tomllib.TOMLDecodeError as error:
        raise LockError(f"{path}: {error}", hint=hint) from None
    except RecursionError:
        raise LockError(f"{path}: nested too deeply") from None


def load_json(path: str) -> LockTable:
    """Read a JSON file; raise LockError with line and column if it is invalid."""
    try:
        content = json.loads(load_text(path))
    except json.JSONDecodeError as error:
        raise LockError(f"{path}: {error}", hint="lock again") from None
    except RecursionError:
        raise LockError(f"{path}: nested too deeply") from None
    except ValueError as error:  # a number with more digits than Python converts
        raise LockError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise LockError(f"{path}: not an object", hint="lock again")
    return LockTable(content, path)


def load_text(path: str) -> str:
    """Read a text file in UTF-8; raise LockError if that fails."""
    content = load_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LockError(f"{path}: line {line}: not UTF-8") from None


def load_bytes(path: str) -> bytes:
    """Read a whole file; raise LockError if that fails."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        raise LockError(f"There is no file {path}") from None
    except IsADirectoryError:
        raise LockError(f"{path} is a folder, not a lock file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        hint = "look at that file, then run the same command again"
        raise LockError(f"Cannot read {path}: {reason}", hint=hint) from error
    if len(content) > _LARGEST:
        raise LockError(f"{path} is too large for a lock file")
    return content
