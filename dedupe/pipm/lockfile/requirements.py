"""Reading ``requirements.txt`` with pinned requirements."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from pipm.core.pins import Archive, Pin
from pipm.lockfile.checked_table import LockTable
from pipm.lockfile.requirement_lines import Line, RequirementOptions, allowed_archives, marker_of, read_lines
from pipm.lockfile.requirement_urls import Direct, direct, is_direct
from pipm.lockfile.target_match import TargetMatch

if TYPE_CHECKING:
    from pipm.core.selection import Selection
    from pipm.core.target import Target

_Found = tuple[Pin, LockTable]


def read_requirements(path: str, target: Target, selection: Selection) -> list[_Found]:
    """Read pinned requirements; raise LockError with the line of one that is not pinned.

    Paths are relative to the file. Extras are ignored: the distributions that they need are pinned, too.
    """
    fit = TargetMatch(target)
    options = RequirementOptions()
    lines = list(read_lines(path, options))
    whole = LockTable({}, path)
    whole.check_known("extra", selection.extras, ())
    whole.check_known("group", selection.groups, ())
    constraints: dict[str, list[tuple[Requirement, Line]]] = {}
    for line in lines:
        if line.constraint and not is_direct(line):
            requirement = _parsed(line)
            if _counts(fit, requirement, line):
                name = line.table.normalised(requirement.name)
                constraints.setdefault(name, []).append((requirement, line))
    found: dict[str, _Found] = {}
    others: list[_Found] = []
    for line in lines:
        with line.table.checking():
            pin = None if line.constraint else _pin(fit, line, options, constraints)
        if pin is None:
            continue
        known = found.get(pin.name)
        if known is None:
            found[pin.name] = pin, line.table
        elif (known[0].version, known[0].origin) == (pin.version, pin.origin):
            hashes = tuple(dict.fromkeys(known[0].hashes + pin.hashes))
            found[pin.name] = known[0]._replace(hashes=hashes), known[1]
        else:
            others.append((pin, line.table))
    _check_hashes([*found.values()], options)
    return [*found.values(), *others]


def _parsed(line: Line) -> Requirement:
    try:
        return Requirement(line.text)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise line.table.error(f"{line.text!r} is not a valid requirement: {reason}") from None


def _counts(fit: TargetMatch, requirement: Requirement, line: Line) -> bool:
    return requirement.marker is None or fit.holds(str(requirement.marker), line.table)


def _pin(
    fit: TargetMatch,
    line: Line,
    options: RequirementOptions,
    constraints: dict[str, list[tuple[Requirement, Line]]],
) -> Pin | None:
    """Return the pin of one line; None if its marker is false."""
    passed = (*options.passed, *line.options)
    if is_direct(line):
        address, marker = marker_of(line.text)
        if marker and not fit.holds(marker, line.table):
            return None
        return _direct_pin(fit, direct(address, line), line, passed)
    requirement = _parsed(line)
    if not _counts(fit, requirement, line):
        return None
    if requirement.url:
        found = direct(requirement.url, line, name=requirement.name)
        return _direct_pin(fit, found, line, passed)
    name = line.table.normalised(requirement.name)
    candidates = [(requirement, line), *constraints.get(name, [])]
    versions = {version: one for wanted, one in candidates if (version := _version(wanted, one))}
    if len(versions) != 1:
        raise line.table.error(
            f"{requirement.name} is not pinned"
            if not versions
            else f"{name} is pinned to {sorted(versions)}",
            hint="pin every requirement: `uv pip compile --generate-hashes`, pip-compile or `pip lock`",
        )
    ((version, pinned_by),) = versions.items()
    return Pin(
        name=name,
        version=version,
        hashes=line.hashes or pinned_by.hashes,
        index_url=options.index,
        options=passed,
        where=line.table.where,
        archives=allowed_archives(passed, name),
    )


def _version(requirement: Requirement, line: Line) -> str | None:
    """Return the one version that a requirement allows; None if it allows several."""
    for specifier in requirement.specifier:
        if specifier.operator in ("==", "===") and not specifier.version.endswith(".*"):
            version = replace(line.table, content={"version": specifier.version}).version()
            if requirement.specifier.contains(version or "", prereleases=True):
                return version
    return None


def _direct_pin(fit: TargetMatch, found: Direct, line: Line, options: tuple[str, ...]) -> Pin:
    name = line.table.normalised(found.name)
    origin = found.origin
    if isinstance(origin, Archive) and line.hashes:
        origin = origin._replace(hashes=line.hashes)
    fit.check_wheel(origin, line.table, name, found.version)
    return Pin(name=name, version=found.version, origin=origin, options=options, where=line.table.where)


def _check_hashes(found: list[_Found], options: RequirementOptions) -> None:
    """Raise LockError if some archives have a hash and others do not: like in pip, all or none.

    Folders and repositories cannot have one; with ``--require-hashes`` they are rejected.
    """
    hashed = {
        pin.name: bool(pin.origin.hashes if isinstance(pin.origin, Archive) else pin.hashes)
        for pin, _ in found
    }
    if not options.require_hashes and not any(hashed.values()):
        return
    for pin, table in found:
        archive = pin.origin is None or isinstance(pin.origin, Archive)
        if not hashed[pin.name] and (archive or options.require_hashes):
            raise table.error(f"{pin.name} has no --hash, but others have", hint="add a hash to all or none")
