"""The lines of requirements.txt: comments, continuations, variables, options, included files."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.lock.table import Table, load_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)\}")
_SHORT = {"-i": "--index-url", "--pypi-url": "--index-url", "-f": "--find-links", "-C": "--config-settings"}
_LONG = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "--config-setting": "--config-settings",
}
_WITH_VALUE = frozenset(
    ("--index-url", "--extra-index-url", "--find-links", "--no-binary", "--only-binary", "--trusted-host")
)
_FLAGS = frozenset(("--no-index", "--pre", "--prefer-binary"))
_OF_ONE = frozenset(("--hash", "--config-settings", "--global-option"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A requirement as it is written, without its options; ``table`` is its place."""

    text: str
    table: Table
    editable: bool = False
    constraint: bool = False
    hashes: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Options:
    """What a file tells pip for all its requirements."""

    index: str | None = None
    require_hashes: bool = False
    passed: list[str] = field(default_factory=list)


def read_lines(
    path: str, options: Options, *, constraint: bool = False, within: tuple[str, ...] = ()
) -> Iterator[Line]:
    """Yield the requirements of a file and of those that it includes; note its other options in *options*."""
    place = Table({}, path)
    real = os.path.realpath(path)
    if real in within:
        raise place.error("the file includes itself")
    for number, text in _logical(load_text(path)):
        table = Table({}, path, f"line {number}")
        requirement, words = _split(text, table)
        if requirement:
            yield _requirement(requirement, words, table, constraint=constraint)
            continue
        for name, value in _options(words, table):
            if name in ("--requirement", "--constraint"):
                if "://" in value:
                    raise table.error(f"{value} is not on this disk", hint="fetch it, and name the file")
                included = os.path.join(os.path.dirname(path), value)
                if not os.path.exists(included):
                    raise table.error(f"there is no file {value}")
                yield from read_lines(
                    included,
                    options,
                    constraint=constraint or name == "--constraint",
                    within=(*within, real),
                )
            elif name == "--editable":
                yield Line(text=value, table=table, editable=True, constraint=constraint)
            else:
                _note(name, value, table, options)


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Join continued lines, drop comments, put in variables; each with the number of its first line."""
    parts: list[str] = []
    first = 0
    for number, line in enumerate((*text.splitlines(), ""), start=1):
        if not parts:
            first = number
        is_comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not is_comment:
            parts.append(line[:-1])
            continue
        # As for pip, a comment ends a continuation.
        parts.append("" if is_comment else line)
        whole = _COMMENT.sub("", " ".join(parts) if len(parts) > 1 else parts[0]).strip()
        parts = []
        if whole:
            yield first, _VARIABLE.sub(lambda match: os.environ.get(match["name"], match[0]), whole)


def _split(text: str, table: Table) -> tuple[str, list[str]]:
    """Split a line into its requirement and the options that follow."""
    match = re.search(r"(^|\s)-", text)
    if match is None:
        return text, []
    try:
        return text[: match.start()].strip(), shlex.split(text[match.start() :])
    except ValueError as error:
        raise table.error(f"cannot be read: {error}") from None


def _options(words: list[str], table: Table) -> Iterator[tuple[str, str]]:
    """Yield options with their values, by their long names."""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2:  # -rfile
            name, equals, value = word[:2], "=", word[2:].removeprefix("=")
        name = _SHORT.get(name, _LONG.get(name, name))
        takes = name in _WITH_VALUE or name in _OF_ONE or name in _LONG.values() or name == "--use-feature"
        if not takes and name not in _FLAGS and name != "--require-hashes":
            raise table.error(f"the option {name} is unknown")
        if takes and not equals:
            value = next(rest, "")
        if takes != bool(value):
            raise table.error(f"the option {name} {'lacks its' if takes else 'takes no'} value")
        yield name, value


def _requirement(text: str, words: list[str], table: Table, *, constraint: bool) -> Line:
    hashes: list[tuple[str, str]] = []
    options: list[str] = []
    for name, value in _options(words, table):
        if name == "--hash":
            hashes.append(table.hashed(value))
        elif name in _OF_ONE:
            options += [name, value]
        else:
            raise table.error(f"the option {name} does not belong to one requirement")
    return Line(text=text, table=table, constraint=constraint, hashes=tuple(hashes), options=tuple(options))


def _note(name: str, value: str, table: Table, options: Options) -> None:
    if name == "--index-url":
        options.index = value
    elif name == "--require-hashes":
        options.require_hashes = True
    elif name == "--find-links":
        options.passed += [name, value if "://" in value else table.absolute(value)]
    elif name in _WITH_VALUE:
        options.passed += [name, value]
    elif name in _FLAGS:
        options.passed.append(name)
    elif name in _OF_ONE:
        raise table.error(f"the option {name} belongs to a requirement")
