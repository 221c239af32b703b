"""Checking and unpacking wheel archives, which may be hostile.

`zipfile` reads the archive's directory. `installer` does not check enough for a shared store: paths that
leave the entry, wrong sizes and digests, names that are equal on some platforms.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import Version

from pipm.core.digest import Digest, digest_of
from pipm.core.importable import is_importable, packages_in
from pipm.core.manifest import FileEntry, Manifest, identity_of
from pipm.core.record import is_bytecode, is_installers_own, parse_record
from pipm.core.size_text import size_text
from pipm.errors import WheelError
from pipm.fs.free_space import free_space
from pipm.fs.share_file import write_new_file
from pipm.store.objects import object_mode
from pipm.wheel.entry_paths import EntryPaths, folded, name_refusal
from pipm.wheel.entry_points import parse_entry_points
from pipm.wheel.read_members import MemberReader
from pipm.wheel.record_hashes import RecordMismatch, is_locked, record_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.fs.tree_builder import TreeBuilder
    from pipm.wheel.record_hashes import RecordHash

_SCHEMES = {
    "purelib": "site",
    "platlib": "site",
    "headers": "headers",
    "scripts": "scripts",
    "data": "data",
}
_MAJOR = 1
_MOST_MEMBERS = 500_000
_LARGEST_METADATA = 64 << 20
"""Maximum bytes of RECORD, for that many members; it is read into memory."""
_LONGEST_SHOWN = 300
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Other methods need modules that some interpreters lack, and no build tool uses them."""
_TAG = re.compile(r"([0-9][A-Za-z0-9_.]*-)?[A-Za-z0-9_.+]+(-[A-Za-z0-9_.+]+){2,3}")
_UNSOUND = (
    zipfile.BadZipFile,
    NotImplementedError,  # zipfile lacks a feature of the format
    EOFError,
    ValueError,  # names that are not UTF-8, offsets before the file's start
    struct.error,
)


class UnpackedWheel(NamedTuple):
    """A wheel's manifest; ``mismatches`` are rows of RECORD that differ from the files that it describes."""

    manifest: Manifest
    mismatches: tuple[RecordMismatch, ...] = ()


def unpack_wheel(
    path: str,
    tree: TreeBuilder | None,
    file_name: str = "",
    hashes: Iterable[tuple[str, str]] = (),
    digest: Digest | None = None,
) -> UnpackedWheel:
    """Check the wheel at *path* (called *file_name*) and write its files, but for empty ones, to *tree*.

    Nothing is synced. Without *tree* it is only read and hashed. *hashes* are hashes of archives in a lock:
    if the archive has one of them, a wrong RECORD is reported, not rejected. Raises WheelError with archive
    and member; then the caller removes the tree. The archive is not hashed if its *digest* is known.
    """
    file_name = file_name or os.path.basename(path)
    name, version, tag = parse_wheel_name(file_name)
    try:
        # One descriptor for both, so that the digest is that of the unpacked archive.
        with open(path, "rb") as stream:
            archive = digest or Digest(hashlib.file_digest(stream, "sha256").digest())
            with zipfile.ZipFile(stream) as wheel:
                locked = is_locked(stream, archive, hashes)
                reader = MemberReader(wheel, stream.fileno())
                work = _Unpacking(wheel, reader, file_name, tree, locked=locked)
                return work.unpacked(name, version, tag, archive)
    except _UNSOUND as error:
        raise WheelError(f"{file_name} is not a valid wheel: {error}", hint=_HINT) from error


_HINT = "fetch it again; if the error stays, report it to the project that publishes it"


def parse_wheel_name(file_name: str) -> tuple[str, str, str]:
    """Return name, version and the rest (build tag, tags, variant label) of a wheel's file name."""
    stem, extension = os.path.splitext(file_name)
    parts = stem.split("-", 2)
    if extension != ".whl" or len(parts) < 3 or not _TAG.fullmatch(parts[2]):
        raise WheelError(
            f"{file_name} is not the file name of a wheel", hint="name-version-python-abi-platform.whl"
        )
    try:
        return canonicalize_name(parts[0], validate=True), str(Version(parts[1])), parts[2]
    except ValueError as error:
        raise WheelError(f"{file_name}: {error}", hint="name-version-python-abi-platform.whl") from error


def _hashed(chunks: Iterator[bytes], state: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        state.update(chunk)
        yield chunk


class _Unpacking:
    """Unpacks one archive into a tree."""

    def __init__(
        self,
        wheel: zipfile.ZipFile,
        reader: MemberReader,
        file_name: str,
        tree: TreeBuilder | None,
        *,
        locked: bool,
    ) -> None:
        self.wheel = wheel
        self.reader = reader
        self.file_name = file_name
        self.tree = tree
        self.locked = locked
        self.mismatches: list[RecordMismatch] = []
        self.packages: frozenset[str] = frozenset()
        # All files get the time of the tree's folder, which is new and has the file system's resolution.
        self.now_ns = 0 if tree is None else tree.made_ns

    def unpacked(self, name: str, version: str, tag: str, archive: Digest) -> UnpackedWheel:
        members = self._members()
        self._check_room(members)
        metadata = self._metadata_folder(members, name, version)
        self._check_format(metadata)
        self._check_metadata(metadata, name, version)
        self._check_entry_points(metadata)
        recorded = self._record(metadata, members)
        placed = list(self._placed(members, metadata))
        site = [path.removeprefix("site/") for _, path in placed if path.startswith("site/")]
        self.packages = packages_in(site)
        files = [
            self._write(member, entry_path, recorded.get(member.filename)) for member, entry_path in placed
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
        return UnpackedWheel(manifest, tuple(self.mismatches))

    def _refuse(self, member: str, why: str) -> WheelError:
        shown = member if len(member) <= _LONGEST_SHOWN else f"{member[:_LONGEST_SHOWN]}…"
        return WheelError(f"{self.file_name}: {shown!r} {why}", hint=_HINT)

    def _mismatch(self, member: str, why: str) -> None:
        """Record a mismatch of RECORD if the lock has this archive's hash; otherwise raise WheelError."""
        if not self.locked:
            raise self._refuse(member, why)
        self.mismatches.append(RecordMismatch(self.file_name, member, why))

    def _members(self) -> list[zipfile.ZipInfo]:
        seen: set[str] = set()
        members = []
        if len(self.wheel.infolist()) > _MOST_MEMBERS:
            raise WheelError(f"{self.file_name} has more than {_MOST_MEMBERS} members", hint=_HINT)
        for member in self.wheel.infolist():
            self._check_member(member)
            name = folded(member.filename.rstrip("/"))
            if name in seen:
                raise self._refuse(member.filename, "occurs twice (or names differ only in case)")
            seen.add(name)
            if not member.is_dir():
                members.append(member)
        return members

    def _check_room(self, members: list[zipfile.ZipInfo]) -> None:
        """Raise WheelError before anything is written if the archive would fill the disk."""
        if self.tree is None:
            return
        need = sum(member.file_size for member in members)
        free = free_space(self.tree.parent).size
        if need > free:
            raise WheelError(
                f"{self.file_name} unpacks to {size_text(need)}, but the store has {size_text(free)} free",
                hint="free some space there, if you trust this wheel",
            )

    def _check_member(self, member: zipfile.ZipInfo) -> None:
        name = member.filename
        # orig_filename is the name in the archive; zipfile cuts it at NUL and converts separators.
        why = name_refusal(name)
        if why is not None or name != member.orig_filename:
            raise self._refuse(member.orig_filename, why or "is not a valid name in a wheel")
        mode = member.external_attr >> 16
        if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or not stat.S_IFMT(mode)):
            raise self._refuse(name, "is a symbolic link or a special file")
        if mode & (stat.S_ISUID | stat.S_ISGID):
            raise self._refuse(name, "is setuid or setgid")
        if member.flag_bits & 0x1:
            raise self._refuse(name, "is encrypted")
        if member.compress_type not in _METHODS:
            raise self._refuse(name, "is neither stored nor deflated")

    def _metadata_folder(self, members: list[zipfile.ZipInfo], name: str, version: str) -> str:
        tops = {member.filename.partition("/")[0] for member in members if "/" in member.filename}
        folders = sorted(top for top in tops if top.endswith(".dist-info"))
        if len(folders) != 1:
            raise WheelError(f"{self.file_name} has {len(folders)} dist-info folders, not one", hint=_HINT)
        stem, _, release = folders[0].removesuffix(".dist-info").rpartition("-")
        try:
            fits = canonicalize_name(stem) == name and str(Version(release)) == version
        except ValueError:
            fits = False
        if not fits:
            raise self._refuse(folders[0], "does not match the wheel's file name")
        return folders[0]

    def _check_format(self, metadata: str) -> None:
        for line in self._read(f"{metadata}/WHEEL").decode("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Wheel-Version":
                major = value.strip().partition(".")[0]
                if major != str(_MAJOR):
                    raise self._refuse(f"{metadata}/WHEEL", f"has the unknown format {value.strip()}")
                return
        raise self._refuse(f"{metadata}/WHEEL", "has no Wheel-Version")

    def _check_metadata(self, metadata: str, name: str, version: str) -> None:
        """Raise WheelError unless METADATA names the release in the wheel's file name: tools display it."""
        path = f"{metadata}/METADATA"
        fields: dict[str, str] = {}
        for line in self._read(path).decode("utf-8", "replace").splitlines():
            key, colon, value = line.partition(":")
            if not colon and not line.strip():
                break  # the description follows
            fields.setdefault(key.strip().lower(), value.strip())
        for key in ("name", "version"):
            if not fields.get(key):
                raise self._refuse(path, f"has no {key.title()}")
        try:
            fits = Version(fields["version"]) == Version(version)
        except ValueError:
            fits = False
        if not fits or canonicalize_name(fields["name"]) != name:
            raise self._refuse(path, "names another release than the wheel's file name")

    def _check_entry_points(self, metadata: str) -> None:
        path = f"{metadata}/entry_points.txt"
        if path not in self.wheel.NameToInfo:
            return
        try:
            parse_entry_points(self._read(path))
        except ValueError as error:
            raise self._refuse(path, str(error)) from error

    def _record(self, metadata: str, members: list[zipfile.ZipInfo]) -> dict[str, RecordHash]:
        """Return RECORD's hashes; all members except RECORD and its signatures must have one."""
        recorded, bare = {}, set()
        for row in parse_record(self._read(f"{metadata}/RECORD")):
            expected = record_hash(row)
            if expected is not None:
                recorded[row.path] = expected
            elif not row.path.startswith(f"{metadata}/RECORD"):
                self._mismatch(row.path, "has no sha256, sha384 or sha512 in RECORD")
                bare.add(row.path)
        names = {member.filename for member in members}
        for absent in sorted(recorded.keys() - names):
            self._mismatch(absent, "is in RECORD but not in the archive")
        for unknown in sorted(names - recorded.keys() - bare):
            if not is_installers_own(unknown):
                self._mismatch(unknown, "is not in RECORD")
        return recorded

    def _read(self, name: str) -> bytes:
        try:
            member = self.wheel.getinfo(name)
        except KeyError:
            raise self._refuse(name, "is missing") from None
        if member.file_size > _LARGEST_METADATA:
            raise self._refuse(name, f"is larger than {_LARGEST_METADATA >> 20} MiB")
        return b"".join(self._content(member))

    def _placed(self, members: list[zipfile.ZipInfo], metadata: str) -> Iterator[tuple[zipfile.ZipInfo, str]]:
        """Yield each member that is installed, with its path in the entry.

        Bytecode is not installed: the store compiles sources itself, and a wheel's bytecode may differ from
        them.
        """
        paths = EntryPaths()
        for member in members:
            path = self._path(member.filename, metadata)
            if path is None:
                continue
            why = paths.refusal(path)
            if why is not None:
                raise self._refuse(member.filename, why)
            yield member, path

    def _path(self, name: str, metadata: str) -> str | None:
        """Return the path in the entry of the member *name*; None if installers do not install it."""
        data = f"{metadata.removesuffix('.dist-info')}.data"
        top, _, rest = name.partition("/")
        path = f"site/{name}"
        if rest and top.endswith(".data"):
            key, _, rest = rest.partition("/")
            if top != data or key not in _SCHEMES or not rest:
                raise self._refuse(name, "has no scheme of the wheel format")
            path = f"{_SCHEMES[key]}/{rest}"
            folder = rest.partition("/")[0]
            if _SCHEMES[key] == "site" and folder.endswith(".dist-info"):
                raise self._refuse(name, "is metadata in a folder for data")
        elif is_installers_own(name):
            return None
        return None if path.startswith("site/") and is_bytecode(path) else path

    def _write(self, member: zipfile.ZipInfo, entry_path: str, expected: RecordHash | None) -> FileEntry:
        mode = member.external_attr >> 16
        # The rule of pip and installer; every script is executable, also if its mode in the archive is not.
        executable = entry_path.startswith("scripts/") or (stat.S_ISREG(mode) and mode & 0o111 != 0)
        content = self._content(member)
        check = None  # sha256 is always computed
        if expected is not None and expected.algorithm != "sha256":
            check = hashlib.new(expected.algorithm)
            content = _hashed(content, check)
        scheme, _, path = entry_path.partition("/")
        writable = scheme != "site" or not is_importable(path, self.packages)
        stored_mode = object_mode(executable=executable, writable=writable)
        if self.tree is None or not member.file_size:
            digest, size = digest_of(content), member.file_size
        else:
            new = self.tree.new_file(entry_path)
            digest, size = write_new_file(new, content, stored_mode, self.now_ns, lasting=True)
        if expected is not None:
            actual = digest if check is None else check.digest()
            if actual != expected.digest or expected.size not in (None, size):
                self._mismatch(member.filename, "differs from RECORD")
        return FileEntry(entry_path, digest, size, executable, writable, stored_mode, self.now_ns)

    def _content(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """Read exactly the size that the archive's directory declares, as protection from zip bombs."""
        left = member.file_size
        try:
            for chunk in self.reader.chunks(member):
                left -= len(chunk)
                if left < 0:
                    raise self._refuse(member.filename, "is larger than declared")
                yield chunk
        except _UNSOUND as error:
            raise self._refuse(member.filename, f"is damaged: {error}") from error
        if left:
            raise self._refuse(member.filename, "is smaller than declared")
