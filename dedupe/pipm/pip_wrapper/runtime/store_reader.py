"""The part of pipm inside an environment's pip that reads the store and updates the environment's root.

The file is beside the hook, in the package ``_pipm_pip``. It writes nothing to the store but the root, which
lists the environment's entries. Uses only the standard library (CPython 3.9 and later, PyPy).
"""

import base64
import csv
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import stat
import sys
import time

FORMAT = 1
MANIFESTS = (1, 2)
EPOCH = 315619200
EMPTY = hashlib.sha256(b"").hexdigest()
LOCK_SECONDS = 10.0
ENTRY = re.compile(r"[^./\0][^/\0]*/[^./\0][^/\0]*/[^./\0][^/\0]*")


def legacy_time(digest):
    """Return the time (s) of a file in a manifest of format 1: it follows from the content."""
    return EPOCH + (int(digest[:8], 16) >> 2)


class Row:
    """A file in a manifest: sha256 (hexadecimal), name of its object, time (ns)."""

    def __init__(self, digest, kind, mtime_ns):
        self.digest = digest
        self.object = f"{digest[:2]}/{digest[2:]}{('', '-x', '-w', '-xw')[kind]}"
        self.mtime_ns = mtime_ns


def digest_of(read):
    """Return the hexadecimal sha256 of the data that *read* returns."""
    state = hashlib.sha256()
    for chunk in iter(lambda: read(1 << 20), b""):
        state.update(chunk)
    return state.hexdigest()


def is_private(member):
    """Return True if a wheel's member is never shared, because an environment may change it."""
    top, _, rest = member.partition("/")
    if not rest:
        return _is_path_file(member)
    if not top.endswith(".data"):
        return False
    scheme, _, rest = rest.partition("/")
    if scheme in ("purelib", "platlib"):
        return "/" not in rest and _is_path_file(rest)
    if scheme == "data":
        return "/" not in rest or rest.partition("/")[0] in ("bin", "Scripts", "etc", "lib", "lib64", "Lib")
    return scheme != "headers"  # pip replaces the first line of scripts in place


def _is_path_file(name):
    return name.endswith(".pth") or name.startswith("_virtualenv")


def entry_path(member):
    """Return the path of a wheel's member in an entry of the store; the scheme comes first."""
    top, _, rest = member.partition("/")
    if not top.endswith(".data"):
        return f"site/{member}"
    scheme, _, rest = rest.partition("/")
    return f"{'site' if scheme in ('purelib', 'platlib') else scheme}/{rest}"


def importable(members):
    """Return those of a wheel's *members* that Python can import: the store keeps them read-only."""
    modules = {
        path[5:]: member
        for member, path in ((m, entry_path(m)) for m in members)
        if path.startswith("site/") and path.endswith((".py", ".so", ".pyd"))
    }
    folders = [path.rpartition("/") for path in modules]
    initial = {folder for folder, slash, name in folders if slash and name.startswith("__init__.")}
    packages = {""}
    for folder in sorted(initial, key=lambda folder: folder.count("/")):
        if folder.rpartition("/")[0] in packages:
            packages.add(folder)
    return {member for path, member in modules.items() if path.rpartition("/")[0] in packages}


def recorded(archive):
    """Return the hashes in the archive's RECORD: member → hexadecimal sha256."""
    names = [n for n in archive.namelist() if n.endswith(".dist-info/RECORD") and n.count("/") == 1]
    if len(names) != 1:
        return {}
    hashes = {}
    for row in csv.reader(archive.read(names[0]).decode("utf-8", "surrogateescape").splitlines()):
        if len(row) > 1 and row[1].startswith("sha256="):
            hashes[row[0]] = base64.urlsafe_b64decode(row[1][7:] + "=").hex()
    return hashes


def locked(path, operation, what):
    """Lock the file *path* and return its descriptor; raise TimeoutError if others hold it too long."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    deadline = time.monotonic() + float(os.environ.get("PIPM_LOCK_TIMEOUT") or LOCK_SECONDS)
    while True:
        try:
            fcntl.flock(file, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(file)
                raise TimeoutError(f"another process holds the lock of {what}") from None
            time.sleep(0.02)
        else:
            return file


class StoreReader:
    """Reads the store at *path*."""

    def __init__(self, path):
        self.path = path
        self.v1 = f"{path}/v1"
        self.owners = (0, os.geteuid())
        for folder in (self.v1, f"{self.v1}/objects", f"{self.v1}/wheels", f"{self.v1}/by-wheel"):
            status = os.stat(folder)
            if status.st_uid not in self.owners or status.st_mode & 0o022:
                raise PermissionError(f"other users can write to the store's {folder}")
        if os.geteuid() == 0:
            self._check_way()
        self.pool = self._pool()

    def _check_way(self):
        """Raise PermissionError if another user can put a store of their own in this one's place."""
        folder = self.path
        while folder != "/":
            folder = os.path.dirname(folder)
            status = os.stat(folder)
            open_to_others = status.st_mode & (0o022 if status.st_gid else 0o002)
            # In a folder with the sticky bit others make files of their own, and change no other's.
            if status.st_uid not in self.owners or (open_to_others and not status.st_mode & stat.S_ISVTX):
                raise PermissionError(f"other users can write to {folder}, where the store is")

    def find_row(self, row, size):
        """Return the path of a manifest's object; None if it is missing or changed."""
        path = f"{self.v1}/objects/{row.object}"
        status = self._sound(path)
        fits = status is not None and (status.st_mtime_ns, status.st_size) == (row.mtime_ns, size)
        return path if fits else None

    def find_object(self, digest, size, *, executable, writable):
        """Return path and time (ns) of the object with this content; None if there is none.

        The object is read, because no manifest records its time.
        """
        row = Row(digest, executable | writable << 1, 0)
        path = f"{self.v1}/objects/{row.object}"
        status = self._sound(path)
        if status is None or status.st_size != size:
            return None
        with open(path, "rb") as stream:
            return (path, status.st_mtime_ns) if digest_of(stream.read) == digest else None

    def find_bytecode(self, digest, mtime_ns):
        """Return the path of the bytecode of the source with this content and time, or None."""
        if self.pool is None:
            return None
        seconds, rest = divmod(mtime_ns, 1_000_000_000)
        time = int(seconds + 1e-9 * rest) & 0xFFFFFFFF  # the integer part of st_mtime, a float
        suffix = "" if time == legacy_time(digest) else f"-{time:08x}"
        path = f"{self.pool}/{digest[:2]}/{digest[2:]}{suffix}"
        status = self._sound(path)
        return path if status is not None and status.st_mtime_ns == time * 1_000_000_000 else None

    def find_entry(self, digest):
        """Return the entry of the archive with this sha256; None if the store has none."""
        try:
            with open(f"{self.v1}/by-wheel/{digest}", encoding="ascii") as stream:
                entry = stream.read().strip()
        except FileNotFoundError:
            return None
        present = ENTRY.fullmatch(entry) and os.path.isfile(f"{self.v1}/wheels/{entry}/manifest.json")
        return entry if present else None

    def files_of(self, entry):
        """Return the entry's manifest: path in the entry → `Row`. Raises ValueError if it is damaged."""
        path = f"{self.v1}/wheels/{entry}/manifest.json"
        try:
            with open(path, encoding="ascii") as stream:
                document = json.load(stream)
            if document["version"] not in MANIFESTS:
                raise ValueError(f"of format {document['version']!r}")
            if document["version"] == FORMAT:
                rows = ((*row, 0, legacy_time(row[1]) * 1_000_000_000) for row in document["files"])
            else:
                rows = document["files"]
            return {path: Row(digest, kind, time) for path, digest, _, kind, _, time in rows}
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error})") from None

    def _pool(self):
        """Return the folder of this interpreter's bytecode; None if pip makes another kind."""
        tag = sys.implementation.cache_tag
        if tag is None or sys.pycache_prefix is not None or "SOURCE_DATE_EPOCH" in os.environ:
            return None
        suffix = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
        magic = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
        return f"{self.v1}/bytecode/{tag}{suffix}-{magic}"

    def _sound(self, path):
        """Return the stat of a file of the store; None if it is missing or belongs to another user."""
        try:
            status = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        sound = stat.S_ISREG(status.st_mode) and status.st_uid in self.owners
        return status if sound else None


def note_entries(store_reader, environment, added, present, *, durable):
    """Update the environment's root; return False if it has none (the environment is new or was moved).

    *added* are new entries by name. Of the others, those with a name in *present* stay (None: all).
    """
    folder = f"{store_reader.v1}/roots"
    name = hashlib.sha256(os.fsencode(environment)).hexdigest()[:32]
    lock = locked(f"{environment}/pyvenv.cfg", fcntl.LOCK_EX, environment)
    try:
        try:
            with open(f"{folder}/{name}", encoding="ascii") as stream:
                root = json.load(stream)
        except FileNotFoundError:
            return False
        marker = os.fstat(lock)
        if (root["device"], root["inode"]) != (marker.st_dev, marker.st_ino) or root["version"] != FORMAT:
            return False
        old = {entry for entry in root["entries"] if entry.partition("/")[0] not in added}
        if present is not None:
            old = {entry for entry in old if entry.partition("/")[0] in present}
        root["entries"] = sorted(old | set(added.values()))
        root["seen"] = time.time()
        _write(folder, name, json.dumps(root, indent=1).encode("ascii"), durable=durable)
    finally:
        os.close(lock)
    return True


def _write(folder, name, data, *, durable):
    temporary = f"{folder}/.{name}.{os.urandom(8).hex()}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(file, data)
            if durable:
                os.fsync(file)
        finally:
            os.close(file)
        os.rename(temporary, f"{folder}/{name}")
    except BaseException:
        os.unlink(temporary)
        raise
