"""Letting a wheel archive into the store: hostile until checked.

`zipfile` reads the archive; `installer`'s own unpacking trusts what a store must not: names that leave the
entry, sizes and digests that lie, members that two platforms would see differently.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from dedupe.core.digest import Digest
from dedupe.core.manifest import FileEntry, Manifest, identity_of
from dedupe.core.record import is_installers_own, parse_record
from dedupe.errors import WheelError
from dedupe.fs.share import NewFile, write_new_file
from dedupe.store.objects import object_mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_CHUNK = 1 << 20
_SCHEMES = {
    "purelib": "site",
    "platlib": "site",
    "headers": "headers",
    "scripts": "scripts",
    "data": "data",
}
_MAJOR = 1
_MOST_MEMBERS = 500_000


class Unpacked(NamedTuple):
    """A wheel's manifest and, by object name, its files in the run's folder, not yet synced."""

    manifest: Manifest
    new: dict[str, NewFile]


def unpack_wheel(path: str, run: int) -> Unpacked:
    """Check the wheel at *path* and write its files to the folder *run*.

    Raises WheelError naming archive and member; then the caller drops the folder.
    """
    file_name = os.path.basename(path)
    try:
        name, version, tag = _parse_name(file_name)
        with open(path, "rb") as stream:
            archive = Digest(hashlib.file_digest(stream, "sha256").digest())
        with zipfile.ZipFile(path) as wheel:
            return _Unpacking(wheel, file_name, run).unpacked(name, version, tag, archive)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise WheelError(f"{file_name} is not a sound wheel: {error}", hint=_HINT) from error


_HINT = "fetch it again; if it stays so, tell the project that publishes it"


def _parse_name(file_name: str) -> tuple[str, str, str]:
    """Name, version and the rest of a wheel's file name as it is (build tag, tags, variant label)."""
    stem, extension = os.path.splitext(file_name)
    parts = stem.split("-", 2)
    if extension != ".whl" or len(parts) < 3 or parts[2].count("-") < 2:
        raise WheelError(
            f"{file_name} is not named like a wheel", hint="name-version-python-abi-platform.whl"
        )
    try:
        return canonicalize_name(parts[0], validate=True), str(Version(parts[1])), parts[2]
    except (InvalidVersion, ValueError) as error:
        raise WheelError(f"{file_name}: {error}", hint="name-version-python-abi-platform.whl") from error


class _Unpacking:
    """One archive on its way into a run's folder."""

    def __init__(self, wheel: zipfile.ZipFile, file_name: str, run: int) -> None:
        self.wheel = wheel
        self.file_name = file_name
        self.run = run
        self.new: dict[str, NewFile] = {}
        self.written = 0

    def unpacked(self, name: str, version: str, tag: str, archive: Digest) -> Unpacked:
        members = self._members()
        metadata = self._metadata_folder(members, name, version)
        self._check_format(metadata)
        promised = self._record(metadata, members)
        files = [
            self._write(member, entry_path, promised.get(member.filename))
            for member, entry_path in self._placed(members, metadata)
        ]
        identity = identity_of(
            (file.path.removeprefix("site/"), file.digest, file.executable)
            for file in files
            if file.path.startswith("site/")
        )
        manifest = Manifest(
            name=name,
            version=version,
            tag=tag,
            identity=identity,
            origin=f"wheel {self.file_name}",
            files=tuple(files),
            wheels=(archive,),
        )
        return Unpacked(manifest, self.new)

    def _refuse(self, member: str, why: str) -> WheelError:
        return WheelError(f"{self.file_name}: {member!r} {why}", hint=_HINT)

    def _members(self) -> list[zipfile.ZipInfo]:
        seen: set[str] = set()
        members = []
        if len(self.wheel.infolist()) > _MOST_MEMBERS:
            raise WheelError(f"{self.file_name} has more than {_MOST_MEMBERS} members", hint=_HINT)
        for member in self.wheel.infolist():
            self._check_member(member)
            folded = member.filename.rstrip("/").casefold()
            if folded in seen:
                raise self._refuse(member.filename, "is there twice (or differs in case alone)")
            seen.add(folded)
            if not member.is_dir():
                members.append(member)
        return members

    def _check_member(self, member: zipfile.ZipInfo) -> None:
        name = member.filename
        parts = name.rstrip("/").split("/")
        # orig_filename is what the archive says; zipfile cuts at NUL and turns separators around.
        odd = name != member.orig_filename or "\\" in name or ":" in parts[0] or not name.isprintable()
        if odd or any(part in ("", ".", "..") for part in parts):
            raise self._refuse(member.orig_filename, "is not a name that a wheel may have")
        mode = member.external_attr >> 16
        if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or not stat.S_IFMT(mode)):
            raise self._refuse(name, "is a symbolic link or a special file")
        if mode & (stat.S_ISUID | stat.S_ISGID):
            raise self._refuse(name, "is setuid or setgid")
        if member.flag_bits & 0x1:
            raise self._refuse(name, "is encrypted")

    def _metadata_folder(self, members: list[zipfile.ZipInfo], name: str, version: str) -> str:
        tops = {member.filename.partition("/")[0] for member in members if "/" in member.filename}
        folders = sorted(top for top in tops if top.endswith(".dist-info"))
        if len(folders) != 1:
            raise WheelError(f"{self.file_name} has {len(folders)} dist-info folders, not one", hint=_HINT)
        stem, _, release = folders[0].removesuffix(".dist-info").rpartition("-")
        try:
            fits = canonicalize_name(stem) == name and str(Version(release)) == version
        except InvalidVersion:
            fits = False
        if not fits:
            raise self._refuse(folders[0], "does not fit the wheel's file name")
        return folders[0]

    def _check_format(self, metadata: str) -> None:
        for line in self._read(f"{metadata}/WHEEL").decode("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Wheel-Version":
                major = value.strip().partition(".")[0]
                if major != str(_MAJOR):
                    raise self._refuse(f"{metadata}/WHEEL", f"is of wheel format {value.strip()}")
                return
        raise self._refuse(f"{metadata}/WHEEL", "names no Wheel-Version")

    def _record(self, metadata: str, members: list[zipfile.ZipInfo]) -> dict[str, tuple[Digest, int | None]]:
        """RECORD's promises; each member but RECORD and its signatures must have one, and the reverse."""
        promised = {}
        for row in parse_record(self._read(f"{metadata}/RECORD")):
            digest = row.digest
            if digest is not None:
                promised[row.path] = (digest, row.size)
            elif not row.path.startswith(f"{metadata}/RECORD"):
                raise self._refuse(row.path, "has no sha256 in RECORD")
        names = {member.filename for member in members}
        for absent in sorted(promised.keys() - names):
            raise self._refuse(absent, "is in RECORD but not in the archive")
        for unknown in sorted(names - promised.keys()):
            if not is_installers_own(unknown):
                raise self._refuse(unknown, "is not in RECORD")
        return promised

    def _read(self, name: str) -> bytes:
        try:
            return self.wheel.read(name)
        except KeyError:
            raise self._refuse(name, "is missing") from None

    def _placed(self, members: list[zipfile.ZipInfo], metadata: str) -> Iterator[tuple[zipfile.ZipInfo, str]]:
        """Each member that gets installed, with its path in the entry."""
        data = f"{metadata.removesuffix('.dist-info')}.data/"
        taken: set[str] = set()
        for member in members:
            path = f"site/{member.filename}"
            if member.filename.startswith(data):
                key, _, rest = member.filename[len(data) :].partition("/")
                if key not in _SCHEMES or not rest:
                    raise self._refuse(member.filename, "belongs to no scheme of the format")
                path = f"{_SCHEMES[key]}/{rest}"
            elif is_installers_own(member.filename):
                continue
            if path in ("data/pyvenv.cfg", "site/pyvenv.cfg"):
                raise self._refuse(member.filename, "would overwrite an environment's pyvenv.cfg")
            if path.casefold() in taken:
                raise self._refuse(member.filename, "lands where another member lands")
            taken.add(path.casefold())
            yield member, path

    def _write(
        self, member: zipfile.ZipInfo, entry_path: str, promise: tuple[Digest, int | None] | None
    ) -> FileEntry:
        executable = bool(member.external_attr >> 16 & 0o111)
        self.written += 1
        new = NewFile(self.run, f"member-{self.written}")
        mode = object_mode(executable=executable)
        with self.wheel.open(member) as stream:
            digest, size = write_new_file(new, self._limited(member, stream), mode)
        if promise is not None and (digest != promise[0] or promise[1] not in (None, size)):
            raise self._refuse(member.filename, "is not what RECORD says")
        self.new.setdefault(digest.object_name(executable=executable), new)
        return FileEntry(entry_path, digest, size, executable)

    def _limited(self, member: zipfile.ZipInfo, stream: IO[bytes]) -> Iterator[bytes]:
        """Read at most what the archive's directory declares: a bomb ends here."""
        left = member.file_size
        while chunk := stream.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise self._refuse(member.filename, "is larger than it says")
            yield chunk
