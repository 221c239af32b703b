"""Stacking an environment over others: its own distributions take precedence.

Modules and metadata: a path file makes `site` add the site-packages of the others with all their path
files. Programs: copies of their scripts, which start the upper environment's interpreter. Data
(``share/jupyter``, say): symlinks.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pipm.env.environment import load_environment
from pipm.fs.beneath import read_file
from pipm.fs.own_files import add_file, add_link
from pipm.fs.walk_tree import walk_entries
from pipm.wheel.environment_files import entry_point_script

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATH_FILE = "zzz_pipm_below.pth"
"""Sorts after all other path files, so that the upper environment's entries come first."""
_DATA = ("share", "etc")
_OF_ENVIRONMENT = re.compile(r"(activate|deactivate|python|pypy|pip)([\d.]*|\..*|-config)", re.IGNORECASE)
"""Programs that belong to one environment and are not copied."""
_LONGEST = 1 << 20
"""Maximum size of a script in bytes; larger files are other programs."""


def stack_environments(path: str, below: Sequence[str]) -> None:
    """Add the distributions of the environments *below*, the uppermost first, to that at *path*."""
    upper = load_environment(path)
    sites = []
    for other in below:
        environment = load_environment(other)
        sites.append(f"{environment.path}/{environment.site}")
        for name, data in _scripts(environment.path, upper.path):
            add_file(f"{upper.path}/bin/{name}", data, 0o777)
        for folder in _DATA:
            for under, entry in walk_entries(f"{environment.path}/{folder}"):
                add_link(os.path.join(upper.path, folder, under, entry.name), entry.path)
    line = "import site; " + "; ".join(f"site.addsitedir({site!r})" for site in sites) + "\n"
    add_file(f"{upper.path}/{upper.site}/{PATH_FILE}", line.encode("utf-8", "surrogateescape"), 0o666)


def _scripts(below: str, upper: str) -> Iterator[tuple[str, bytes]]:
    """Yield the scripts of the environment at *below*, changed for the environment at *upper*."""
    interpreter = os.fsencode(f"{below}/bin/python")
    for _, entry in walk_entries(f"{below}/bin"):
        if _OF_ENVIRONMENT.fullmatch(entry.name) or entry.is_symlink() or entry.stat().st_size > _LONGEST:
            continue
        data = read_file(entry.path)
        if data is None:
            continue
        first, _, rest = data.partition(b"\n")
        second, newline, body = rest.partition(b"\n")
        if first.startswith(b"#!" + interpreter):
            yield entry.name, entry_point_script(rest, f"{upper}/bin/python")
        elif first.startswith(b"#!/bin/sh") and interpreter in second:  # a path too long for the kernel
            own = second.replace(os.fsencode(below), os.fsencode(upper))
            yield entry.name, b"%b\n%b%b%b" % (first, own, newline, body)
