"""The files of a distribution that each environment has of its own: scripts and the installer's metadata."""

from __future__ import annotations

import os

from pipm.core.install_plan import record_rows
from pipm.errors import StoreError
from pipm.fs.file_content import is_program
from pipm.fs.folder_stack import FOLDER
from pipm.fs.opened import opened
from pipm.store.layers import home_of
from pipm.sync.uv_note import FILE as UV_NOTE
from pipm.wheel.environment_files import INSTALLER, entry_point_script, wheels_own_script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pipm.core.install_plan import DataFile, InstallPlan
    from pipm.core.plan.materialise_plan import Wanted
    from pipm.core.scheme import Scheme
    from pipm.store.layout import Store


def installer_metadata(wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield the files that the installer writes into a metadata folder, except RECORD."""
    yield "INSTALLER", INSTALLER
    yield "REQUESTED", b""  # a lock requests all its distributions, like `pip install -r`
    if wanted.direct_url is not None:
        yield "direct_url.json", wanted.direct_url
    if wanted.uv_note is not None:
        yield UV_NOTE, wanted.uv_note


def programs_of(store: Store, wanted: Wanted) -> list[DataFile]:
    """Return the machine programs among the scripts of *wanted*: they are linked, not written."""
    scripts = [other for other in wanted.install_plan.data_files if other.scheme == "scripts"]
    if not scripts:
        return []
    path = f"wheels/{wanted.entry}/scripts"
    with opened(os.open(path, FOLDER, dir_fd=home_of(store, wanted.entry).v1)) as folder:
        return [other for other in scripts if other.executable and is_program(other.path, folder)]


def scripts_of(
    store: Store, scheme: Scheme, wanted: Wanted, programs: Sequence[DataFile] = ()
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the scripts of *wanted* in a *scheme*, without its *programs*."""
    for name, body in wanted.install_plan.scripts:
        yield name, entry_point_script(body, scheme.python)
        if name == "pip" and wanted.install_plan.name == "pip":
            # A convention: pip and uv give pip a further script with the interpreter's version.
            yield f"pip{scheme.version}", entry_point_script(body, scheme.python)
    for other in wanted.install_plan.data_files:
        if other.scheme == "scripts" and other not in programs:
            path = f"wheels/{wanted.entry}/scripts/{other.path}"
            try:
                home = home_of(store, wanted.entry)
                file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=home.v1)
            except FileNotFoundError as error:
                raise damaged_file_error(path) from error
            with open(file, "rb") as stream:
                yield other.path, wheels_own_script(stream.read(), scheme.python)


def compiled_rows(scheme: Scheme, install_plan: InstallPlan, uncompiled: Collection[str]) -> bytes:
    """Return RECORD's rows of bytecode, without hashes, since Python may replace it."""
    tag = scheme.cache_tag
    if not tag:
        return b""
    rows = [
        f"{folder.path}/__pycache__/{stem}.{tag}.pyc" if folder.path else f"__pycache__/{stem}.{tag}.pyc"
        for folder in install_plan.folders
        for stem, key in folder.sources
        if key not in uncompiled
    ]
    text = "".join([f"{row},,\n" for row in rows])
    if text.count(",") != 2 * len(rows) or '"' in text:
        return record_rows((row, "", "") for row in rows)
    return text.encode("utf-8", "surrogateescape")


def damaged_file_error(path: str) -> StoreError:
    """Return the error for a missing file or folder *path* (below ``v1/``) of the store."""
    entry = "/".join(path.split("/")[1:4])
    return StoreError(
        f"{path} is missing in the store",
        hint=f"remove its folder wheels/{entry} from the store; the next sync fetches it again",
    )
