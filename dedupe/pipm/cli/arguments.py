"""Reading a command line without typer, whose import takes longer than the rest of a short command.

This module understands only a command line with one meaning; help, abbreviations, mistakes and everything
else are left to typer. A warm `pipm run` imports this: nothing here may import what takes milliseconds
(dataclasses, typing, re).
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's takes its import

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    OptionTable = Mapping[str, tuple[str, object]]


class Arguments:
    """The arguments of a command; subclasses have the defaults."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)


def parse_words(
    words: Sequence[str], command: str, common: OptionTable, own: OptionTable, *, program: bool
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the common settings and *command*'s arguments that *words* set; None if typer must read them.

    With *program* the first word that is not an option begins another program's command line; else it is one
    value of the argument in the row "" of *own*. Options before the command's name are *common* ones.
    """
    rest, seen = list(words), False
    operand, several = own[""]
    found: dict[str, Any] = {}
    while rest:
        word = rest.pop(0)
        if word == command and not seen:
            seen = True
        elif seen and program and (word == "--" or not word.startswith("-")):
            found[operand] = rest if word == "--" else [word, *rest]
            break
        elif seen and word and not word.startswith("-") and (several == [] or operand not in found):
            found[operand] = [*found.pop(operand, ()), word] if several == [] else word
        elif not _set(found, word, rest, {**common, **own} if seen else common):
            return None
    names = {name for name, _ in common.values()}
    settings = {name: found.pop(name) for name in names & found.keys()}
    return (settings, found) if seen else None


def _set(found: dict[str, Any], word: str, rest: list[str], options: OptionTable) -> bool:
    """Set the option *word* in *found*, perhaps from *rest*; return False if typer must read it."""
    option, equals, value = word.partition("=")
    if not option or option not in options:
        return False
    name, given = options[option]
    if given is None or given == []:
        value = value if equals or not rest else rest.pop(0)
        if not value or value.startswith("-"):
            return False
        given = [*found.pop(name, ()), value] if given == [] else value
    elif equals:
        return False
    if name in found:
        return False
    found[name] = given
    return True


def words_of(arguments: Arguments, options: OptionTable, leave_out: frozenset[str]) -> list[str]:
    """Return the options that set *arguments* for `parse_words`, without those named *leave_out*."""
    words: list[str] = []
    seen: set[tuple[str, str]] = set()
    for option, (name, given) in options.items():
        value = getattr(arguments, name)
        if name in leave_out or (name, repr(given)) in seen or value == getattr(type(arguments), name):
            continue
        seen.add((name, repr(given)))  # an option with a short spelling
        if given == []:
            words += [word for one in value for word in (option, one)]
        elif given is None:
            words += [option, value]
        elif value is given:
            words.append(option)
    return words
