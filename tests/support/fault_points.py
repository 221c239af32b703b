"""The points of a command where a fault can occur: its file-changing calls, without equal ones.

A point is a value: command, file system, system call, its number in its process, fault. `chosen` leaves out
what is equal to another point, for these reasons:

- An error that a call cannot give (`EMLINK` of unlink) is no point.
- Calls of one shape (the same call on names of the same kind) come from one line of code in a loop over like
  files. Each of them is killed and fails once; the errors take turns over them, and each error comes up.
- The file system never sees a call that fails. So where another one gave the same shape, one of its calls is
  killed and fails with EIO.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

KILL = "KILL"
_ANY = ("EIO", "ENOSPC", "EACCES", "EPERM", "EROFS", "EDQUOT")
_OPENS = ("openat", "openat2")
_NAMES = ("link", "linkat", "rename", "renameat", "renameat2")
_SLOW = (
    *_OPENS,
    "write",
    "pwrite64",
    "copy_file_range",
    "sendfile",
    "fsync",
    "fdatasync",
    "syncfs",
    "ftruncate",
)
_ACROSS = (*_NAMES, "copy_file_range", "ioctl", "openat2")
CHANGES = (
    "openat,openat2,write,pwrite64,copy_file_range,sendfile,link,linkat,rename,renameat,renameat2,unlink,"
    "unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,chmod,fchmod,fchmodat,fchown,fchownat,chown,lchown,"
    "utimensat,ftruncate,truncate,fallocate,fsync,fdatasync,syncfs,ioctl,setxattr,fsetxattr,lsetxattr,"
    "removexattr,fremovexattr,lremovexattr"
)
_LINE = re.compile(r"(\d+) +\[ *\d+\] (\w+)\((.*)")
_NUMBER = re.compile(r"^\d+ +\[ *(\d+)\] (\w+)\(", re.MULTILINE)
_WRITING = ("O_WRONLY", "O_RDWR", "O_CREAT")
_CHANGING_IOCTLS = ("FICLONE", "FIDEDUPERANGE", "BTRFS_IOC_CLONE", "FS_IOC_SETFLAGS", "FS_IOC_FSSETXATTR")
_WORDS = re.compile(
    r"\b(alpha|beta|come|first|second|econd|module_\d|sub|core|data|_native|_speed|bin|py|pyc|typed|tool|sh|small|table|"
    r"__init__|METADATA|WHEEL|\w+-[\d.]+\.dist-info|cpython-\d+)\b"
)
_CHANCE = re.compile(
    r"(?:tmp|pip-[a-z-]+-|pipm-\w+-)[a-z0-9_]{8}|(?:(?<=-LOCKED/)|(?<=@/tmp/))[a-z0-9_]{8}(?=[\"/>])|"
    r"\b[0-9a-f]{2}\b(?:/[0-9a-f]*)?|[0-9a-z_]*[0-9a-f]{8}[0-9a-z_]*|\d+"
)

Shape = tuple[str, str]
Site = tuple[str, int]
Sites = dict[Shape, list[Site]]


@dataclass(frozen=True, kw_only=True, order=True)
class Point:
    """The *number*-th call of *call* in each process of the *command* is hit by the *fault*."""

    command: str
    kind: str
    call: str
    number: int
    fault: str

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.command}:{self.kind}:{self.call}:{self.number}:{self.fault}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read the text of a point."""
        command, kind, call, number, fault = text.split(":")
        return cls(command=command, kind=kind, call=call, number=int(number), fault=fault)


def errors(call: str) -> tuple[str, ...]:
    """Return the errors that a system call can give."""
    return (
        *_ANY,
        *(("EMFILE",) if call in _OPENS else ()),
        *(("EINTR",) if call in _SLOW else ()),
        *(("EMLINK",) if call in (*_NAMES, "mkdir", "mkdirat") else ()),
        *(("EXDEV",) if call in _ACROSS else ()),
    )


def sites(log: str, point: str) -> Sites:
    """Return each changing call below *point* in strace's *log* with its number in its process, by shape."""
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    found: defaultdict[Shape, set[Site]] = defaultdict(set)
    with open(log, encoding="utf-8", errors="replace") as file:
        for line in file:
            match = _LINE.match(line)
            if match is None:
                continue
            process, call, rest = match.groups()
            counts[process, call] += 1
            rest = rest.replace(f"AT_FDCWD<{point}>", "")
            if point in rest and _changes(call, rest):
                found[call, _shape(call, rest, point)].add((call, counts[process, call]))
    return {shape: sorted(rows) for shape, rows in sorted(found.items())}


def numbers(log: str) -> dict[str, int]:
    """Return the number that this machine has for each system call in strace's *log*."""
    with open(log, encoding="utf-8", errors="replace") as file:
        return {call: int(number) for number, call in _NUMBER.findall(file.read())}


def _changes(call: str, rest: str) -> bool:
    if call in _OPENS:
        return any(flag in rest for flag in _WRITING)
    if call == "ioctl":
        return any(name in rest for name in _CHANGING_IOCTLS)
    return True


def _shape(call: str, rest: str, point: str) -> str:
    """Return the arguments with what differs between like files taken out."""
    text = rest.rpartition(") = ")[0] or rest
    if call in {"write", "pwrite64"}:
        text = text.partition(">,")[0]
    if call == "utimensat":
        text = text.partition(", [")[0]
    text = _CHANCE.sub("#", text.replace(point, "@"))
    return re.sub(r"(?:[*#]|[-/.](?=[*#])|(?<=[*#])-[wx]+)+", "*", _WORDS.sub("*", text))


def every(known: Sites) -> Iterator[tuple[Site, str]]:
    """Yield each call with each fault."""
    for site in sorted({site for rows in known.values() for site in rows}):
        yield from ((site, fault) for fault in (KILL, *errors(site[0])))


def chosen(found: Sites, known: Collection[Shape] = ()) -> list[tuple[Site, str]]:
    """Return the calls and faults that differ from others; *known* are shapes of another file system."""
    pairs = set()
    for shape, rows in found.items():
        if shape in known:
            pairs |= {(rows[0], KILL), (rows[0], "EIO")}
            continue
        pairs |= {(site, KILL) for site in rows}
        faults = errors(shape[0])
        count = max(len(rows), len(faults))
        turns = zip(itertools.cycle(rows), itertools.cycle(faults), strict=False)
        pairs |= set(itertools.islice(turns, count))
    return sorted(pairs)


def sample(points: list[Point], count: int, seed: int) -> list[Point]:
    """Return *count* of the points (all: 0): every second one kills, all errors and calls take turns.

    Each point's place follows from itself and *seed*: a few others more or less change nothing for it.
    """
    groups: defaultdict[str, defaultdict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for point in sorted(points, key=lambda point: random.Random(f"{seed} {point}").random()):
        groups[point.fault][point.call].append(point)
    queues = {fault: _turns(calls.values()) for fault, calls in sorted(groups.items())}
    kills = queues.pop(KILL, [])
    picked = _turns([kills, _turns(queues.values())])
    return sorted(picked[: count or None])


def _turns(rows: Iterable[list[Point]]) -> list[Point]:
    return [one for turn in itertools.zip_longest(*rows) for one in turn if one is not None]
