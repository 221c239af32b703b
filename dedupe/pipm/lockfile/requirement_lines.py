"""Reading the lines of requirements.txt: comments, continuations, variables, options, included files."""

from __future__ import annotations

import codecs
import itertools
import os
import re
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pipm.lockfile.checked_table import LockTable, load_bytes, load_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipm.core.pins import Archives

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)\}")
_EDITABLE = re.compile(r"(-e|--editable)(\s*=\s*|\s+|(?=[^\s-]))(?P<rest>.+)")
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; those of UTF-32 come first, because they begin with those of UTF-16."""

_TRUSTED = ("sha256", "sha384", "sha512")
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
_ARCHIVES: dict[str, Archives] = {"--no-binary": "source", "--only-binary": "wheel"}
_FLAGS = frozenset(("--no-index", "--pre", "--prefer-binary"))
_OF_ONE = frozenset(("--hash", "--config-settings", "--global-option"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The text of a requirement without its options; ``table`` is its place in the file."""

    text: str
    table: LockTable
    editable: bool = False
    constraint: bool = False
    hashes: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()


@dataclass(kw_only=True)
class RequirementOptions:
    """Options of a file that apply to all its requirements; ``passed`` are those for pip."""

    index: str | None = None
    require_hashes: bool = False
    passed: list[str] = field(default_factory=list)


def read_lines(
    path: str, options: RequirementOptions, *, constraint: bool = False, within: tuple[str, ...] = ()
) -> Iterator[Line]:
    """Yield the requirements of a file and of included files; store other options in *options*."""
    place = LockTable({}, path)
    real = os.path.realpath(path)
    if real in within:
        raise place.error("the file includes itself")
    for number, text in _logical(_text(path)):
        table = LockTable({}, path, f"line {number}")
        editable = _EDITABLE.fullmatch(text)
        if editable is not None:
            yield _editable(editable["rest"], table, constraint=constraint)
            continue
        requirement, words = _split(text, table)
        if requirement:
            yield _requirement(requirement, words, table, constraint=constraint)
            continue
        for name, value in _options(words, table):
            if name in ("--requirement", "--constraint"):
                if "://" in value:
                    raise table.error(f"{value} is not a local file", hint="fetch it, and name the file")
                included = os.path.join(os.path.dirname(path), value)
                if not os.path.exists(included):
                    raise table.error(f"there is no file {value}")
                yield from read_lines(
                    included,
                    options,
                    constraint=constraint or name == "--constraint",
                    within=(*within, real),
                )
            else:
                _note(name, value, table, options)


def _editable(text: str, table: LockTable, *, constraint: bool) -> Line:
    """Read the text after ``-e``: an address or ``name @ address``, with or without marker and options.

    Poetry and uv write the marker; pip itself ignores it.
    """
    rest, words = _split(text, table)
    address, mark, marker = _divided(rest)
    try:
        address = " ".join(shlex.split(address))
    except ValueError as error:
        raise table.error(f"cannot be read: {error}") from None
    line = _requirement(address + mark + marker, words, table, constraint=constraint)
    return replace(line, editable=True)


def _divided(text: str) -> tuple[str, str, str]:
    """Split *text* into address, separator and marker; a semicolon in a URL has no space beside it."""
    places = [place for mark in (" ;", "; ") if (place := text.find(mark)) >= 0]
    return (text[: min(places)], " ; ", text[min(places) + 2 :].strip()) if places else (text, "", "")


def marker_of(text: str) -> tuple[str, str]:
    """Split the text of a requirement that is an address into address and marker, which may be empty."""
    address, _, marker = _divided(text)
    return address.strip(), marker.removeprefix(";").strip()


def allowed_archives(options: Sequence[str], name: str) -> Archives:
    """Return the archives that ``--no-binary`` and ``--only-binary`` in *options* allow for *name*."""
    named: Archives = "any"
    every: Archives = "any"
    for option, value in itertools.pairwise(options):
        if option not in _ARCHIVES:
            continue
        kind = _ARCHIVES[option]
        for word in value.split(","):
            if word == ":all:":
                named, every = "any", kind
            elif word == ":none:":
                named = "any" if named == kind else named
                every = "any" if every == kind else every
            elif canonicalize_name(word) == name:
                named = kind
    return every if named == "any" else named


def _text(path: str) -> str:
    """Decode a requirements file like pip: by a byte order mark or a coding line, otherwise as UTF-8."""
    content = load_bytes(path)
    coding = next((name for mark, name in _MARKS if content.startswith(mark)), "")
    for line in [] if coding else content.split(b"\n")[:2]:
        found = _CODING.search(line) if line.startswith(b"#") else None
        coding = coding or (found[1].decode("ascii", "replace") if found else "")
    if not coding:
        return load_text(path)
    try:
        return content.decode(coding)
    except (UnicodeError, LookupError):
        raise LockTable({}, path).error(f"the file declares the encoding {coding}, but differs") from None


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Join continued lines, remove comments, expand variables; yield each with its first line's number."""
    parts: list[str] = []
    first = 0
    for number, line in enumerate((*text.splitlines(), ""), start=1):
        if not parts:
            first = number
        is_comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not is_comment:
            parts.append(line[:-1])
            continue
        # In pip, too, a comment ends a continuation.
        parts.append("" if is_comment else line)
        whole = _COMMENT.sub("", " ".join(parts) if len(parts) > 1 else parts[0]).strip()
        parts = []
        if whole:
            yield first, _VARIABLE.sub(lambda match: os.environ.get(match["name"], match[0]), whole)


def _split(text: str, table: LockTable) -> tuple[str, list[str]]:
    """Split a line into its requirement and the words of its options."""
    match = re.search(r"(^|\s)-", text)
    if match is None:
        return text, []
    try:
        return text[: match.start()].strip(), shlex.split(text[match.start() :])
    except ValueError as error:
        raise table.error(f"cannot be read: {error}") from None


def _options(words: list[str], table: LockTable) -> Iterator[tuple[str, str]]:
    """Yield options by their long names, with their values."""
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


def _requirement(text: str, words: list[str], table: LockTable, *, constraint: bool) -> Line:
    hashes: list[tuple[str, str]] = []
    options: list[str] = []
    for name, value in _options(words, table):
        if name == "--hash":
            hashes.append(_hashed(value, table))
        elif name in _OF_ONE:
            options += [name, value]
        else:
            raise table.error(f"the option {name} is not allowed for a single requirement")
    return Line(text=text, table=table, constraint=constraint, hashes=tuple(hashes), options=tuple(options))


def _hashed(text: str, table: LockTable) -> tuple[str, str]:
    algorithm = text.partition(":")[0]
    if algorithm not in _TRUSTED and algorithm in ("md5", "sha1", "sha224"):
        raise table.error(
            f"the hash {algorithm} is too weak to check an archive; pip rejects it, too",
            hint=f"use {', '.join(_TRUSTED)}: `uv pip compile --generate-hashes`, `pip hash FILE`",
        )
    return table.hashed(text)


def _note(name: str, value: str, table: LockTable, options: RequirementOptions) -> None:
    if name == "--index-url":
        # In pip, too, it replaces all indexes named before, including extra ones.
        options.index = value
        while "--extra-index-url" in options.passed:
            place = options.passed.index("--extra-index-url")
            del options.passed[place : place + 2]
    elif name == "--require-hashes":
        options.require_hashes = True
    elif name == "--find-links":
        options.passed += [name, value if "://" in value else table.absolute(value)]
    elif name in _WITH_VALUE:
        options.passed += [name, value]
    elif name in _FLAGS:
        options.passed.append(name)
    elif name in _OF_ONE:
        raise table.error(f"the option {name} is only allowed after a requirement")
