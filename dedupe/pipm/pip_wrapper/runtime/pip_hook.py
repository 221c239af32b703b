"""The part of pipm that runs inside an environment's pip and takes files from the store.

Theory of operation. pip writes each file of a wheel by one method, ``ZipBackedFile.save`` (in 20.2 to 26.3),
and compiles by the global ``compileall`` of its module. Both are replaced: they link the same content from
the store, or else do what pip does. Everything else stays pip's: resolver, RECORD, scripts, metadata,
rollback, messages, exit code.

The content of a file is known in two ways. If the store knows the archive by its sha256, the entry's manifest
lists it. Otherwise RECORD names a digest; because RECORD may be wrong, the member is unpacked and hashed. A
stored object is used if it has the time in the manifest; without a manifest it is read.

A file that the store lacks is written by pip. At its end pip runs the ``pipm`` that installed this file once,
to share such files and add them to the store. The archive stays open until then, since pip removes its own
copy before.

After any error here pip continues without the store, and one line on stderr gives the reason.
``PIPM_PIP=off`` disables the hook.

The file is in ``.pipm``, in the package ``_pipm_pip``. It uses only the standard library (CPython 3.9 and
later, PyPy). pip 26.1 and later forbid imports while they install, so all modules are imported at the start.
"""

import atexit
import errno
import fcntl
import importlib.util
import json
import os
import re
import signal
import stat
import subprocess
import sys

from _pipm_pip.store_reader import (
    EMPTY,
    FORMAT,
    StoreReader,
    digest_of,
    entry_path,
    importable,
    is_private,
    locked,
    note_entries,
    recorded,
)

FICLONE = 0x40049409
MOST_OPEN = 400
"""Maximum archives kept open until the end; of further ones only the files are shared."""
HARMLESS = (errno.EMLINK, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT)
"""Errors after which pip writes the file itself: too many links, or errors that pip reports better."""


sessions = []
"""The session of this run; empty until a watched module of pip is loaded."""


def loaded(module):
    """Start the session when pip's first watched module is loaded; patch the module that installs wheels."""
    if os.environ.get("PIPM_PIP", "").lower() in ("off", "0", "no", "false"):
        return
    if not sessions:
        sessions.append(PipSession(os.path.realpath(sys.prefix)))
        atexit.register(sessions[0].finish)
    if hasattr(module, "ZipBackedFile"):
        patch(module, sessions[0])


def patch(module, session):
    """Replace the functions of pip's wheel module that write and compile a file."""
    files, compiler = module.ZipBackedFile, module.compileall
    plain_save, plain_compile = files.save, compiler.compile_file

    def save(self):
        if not session.place(self):
            plain_save(self)
            session.saved(self)

    def compile_file(path, *arguments, **options):
        if session.place_bytecode(path):
            return True
        done = plain_compile(path, *arguments, **options)
        session.compiled(path, done)
        return done

    stand_in = type(compiler)(compiler.__name__)
    stand_in.__dict__.update(vars(compiler), compile_file=compile_file)
    files.save = save
    module.compileall = stand_in


class Wheel:
    """The known files of an archive: member → sha256, and for an archive known by its hash member → row.

    ``entry`` is the store's entry until the environment's root lists it, then None.
    """

    def __init__(self, archive, digests, rows=None, *, shareable=True, entry=None):
        self.archive = archive
        self.digests = digests
        self.rows = rows
        self.importable = frozenset() if rows is not None else importable(digests)
        self.shareable = shareable
        self.entry = entry


class PipSession:
    """One run of pip in the environment."""

    def __init__(self, environment):
        with open(f"{environment}/.pipm/pip.json", encoding="utf-8") as stream:
            settings = json.load(stream)
        if settings["version"] != FORMAT:
            raise ValueError(f"settings of format {settings['version']!r}")
        self.environment = environment
        self.command = settings["command"]
        self.store_reader = StoreReader(settings["store"])
        self.make = {"hardlink": link, "reflink": clone, "symlink": symlink}[settings["link_mode"]]
        self.make_bytecode = symlink if self.make is symlink else link  # Python replaces bytecode files
        self.sites = [f"{environment}/{site}" for site in settings["sites"]]
        self.site_times = self._site_times()
        self.process = os.getpid()
        self.wheel = None
        self.sources = {}
        self.entries = {}
        self.unknown = []
        self.rest = False
        self.lock = None
        self.off = os.stat(environment).st_uid != os.geteuid()

    def place(self, file):
        """Link pip's *file* from the store; return False if pip shall write it."""
        if self.off:
            return False
        try:
            if self.wheel is None or self.wheel.archive is not file._zip_file:
                self.wheel = self._open_wheel(file._zip_file)
        except Exception as error:
            self.give_up(error)
            return False
        try:
            return self._place(file)
        except OSError as error:
            if error.errno == errno.EXDEV and not self._is_inside(file.dest_path):
                self.wheel.digests = {}  # the target is elsewhere: --target, a build environment
            elif error.errno not in HARMLESS:
                self.give_up(error)
        except Exception as error:
            self.give_up(error)
        return False

    def saved(self, file):
        """Record a file that pip wrote, to share it at the end."""
        if self.off or not self.wheel.shareable or is_private(file.src_record_path):
            return
        try:
            size = os.stat(file.dest_path).st_size
            if not size and file.dest_path.endswith(".py"):
                row = (self.wheel.rows or {}).get(file.src_record_path)
                if row is not None and row.digest == EMPTY:
                    # An empty file is never shared, but its bytecode is, and contains this time.
                    os.utime(file.dest_path, ns=(row.mtime_ns, row.mtime_ns))
                    self._remember(file, EMPTY, row.mtime_ns)
            elif size and not file.src_record_path.endswith(".dist-info/RECORD"):
                self.rest = self.rest or self._is_inside(file.dest_path)
        except Exception as error:
            self.give_up(error)

    def place_bytecode(self, path):
        """Link the bytecode of the source *path* from the store; return False if pip shall compile it."""
        source = None if self.off else self.sources.get(os.path.normpath(path))
        if source is None:
            return False
        try:
            stored = self.store_reader.find_bytecode(*source)
            if stored is None:
                return False
            appear(self.make_bytecode, stored, importlib.util.cache_from_source(path), executable=False)
        except Exception as error:
            if getattr(error, "errno", None) not in (errno.EXDEV, *HARMLESS):
                self.give_up(error)
            return False
        return True

    def compiled(self, path, done):
        """Record that pip compiled bytecode, to share it at the end."""
        if done and self.store_reader.pool is not None and os.path.normpath(path) in self.sources:
            self.rest = self.rest or self._is_inside(path)

    def give_up(self, reason):
        """Make pip continue without the store, and print the reason once."""
        if not self.off and sys.stderr is not None:
            text = " ".join(str(reason).split()) or type(reason).__name__
            sys.stderr.write(f"pipm: pip works without the store: {text}\n")
        self.off = True

    def finish(self):
        """Share the files that pip wrote, and update the environment's root, at pip's end."""
        if os.getpid() != self.process:  # a child process of pip
            return
        try:
            if self.lock is not None:
                os.close(self.lock)
            if not self.off and (self.rest or self.unknown):
                self._share_rest()
            elif self.entries or self._site_times() != self.site_times:
                self._note(present=self._installed(), durable=True)
        except Exception as error:
            self.give_up(error)
        except KeyboardInterrupt:
            return  # pip's work is done; the next run or `pipm adopt` shares the files

    def _place(self, file):
        member = file.src_record_path
        digest = self.wheel.digests.get(member)
        if digest is None or is_private(member):
            return False
        archive = self.wheel.archive
        info = archive.getinfo(member)
        bits = info.external_attr >> 16
        executable = bool(stat.S_ISREG(bits) and bits & 0o111)  # pip's rule
        if not info.file_size:
            return False
        if self.wheel.rows is None:
            found = self._find_unproven(archive, info, digest, executable=executable)
            self.rest = self.rest or (found is not None and self._is_inside(file.dest_path))
            stored, mtime_ns = found or (None, 0)  # the root does not list its entry yet
        else:
            row = self.wheel.rows[member]
            stored, mtime_ns = self.store_reader.find_row(row, info.file_size), row.mtime_ns
        if stored is None:
            return False
        if self.wheel.entry is not None and self._is_inside(file.dest_path):
            self.entries[self.wheel.entry.partition("/")[0]] = self.wheel.entry
            self.wheel.entry = None
            self._note(present=None, durable=False)
        appear(self.make, stored, file.dest_path, executable=executable)
        if hasattr(file, "written"):  # pip 26.3
            file.written = True
        self._remember(file, digest, mtime_ns)
        return True

    def _find_unproven(self, archive, info, digest, *, executable):
        """Return path and time of the object of a member that only RECORD describes, or None."""
        writable = info.filename not in self.wheel.importable
        found = self.store_reader.find_object(
            digest, info.file_size, executable=executable, writable=writable
        )
        if found is not None:
            with archive.open(info) as stream:
                if digest_of(stream.read) != digest:
                    return None
        return found

    def _remember(self, file, digest, mtime_ns):
        """Record digest and time of a source in site-packages, to link its bytecode."""
        if file.dest_path.endswith(".py") and entry_path(file.src_record_path).startswith("site/"):
            self.sources[os.path.normpath(file.dest_path)] = (digest, mtime_ns)

    def _open_wheel(self, archive):
        """Return what the store knows about the archive; keep an unknown archive open."""
        path = archive.filename
        if "pip-ephem-wheel-cache-" in path:  # pip just built it: no other environment has the same bytes
            return Wheel(archive, {}, {}, shareable=False)
        if self.lock is None:
            self.lock = locked(
                f"{self.store_reader.path}/lock", fcntl.LOCK_SH, f"the store {self.store_reader.path}"
            )
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        entry = self.store_reader.find_entry(digest_of(lambda size: os.read(file, size)))
        if entry is not None:
            os.close(file)
            files = self.store_reader.files_of(entry)
            rows = {member: files.get(entry_path(member)) for member in archive.namelist()}
            digests = {member: row.digest for member, row in rows.items() if row is not None}
            return Wheel(archive, digests, rows, entry=entry)
        if len(self.unknown) < MOST_OPEN:
            self.unknown.append((file, os.path.basename(path)))
        else:
            os.close(file)
        return Wheel(archive, recorded(archive))

    def _is_inside(self, path):
        return path.startswith((f"{sys.prefix}/", f"{self.environment}/"))

    def _site_times(self):
        return [os.stat(site).st_mtime_ns for site in self.sites]

    def _installed(self):
        """Return the normalised names (PEP 503) of installed distributions."""
        names = (name for site in self.sites for name in os.listdir(site))
        folders = (name[:-10] for name in names if name.endswith(".dist-info"))
        return {re.sub(r"[-_.]+", "-", folder.partition("-")[0]).lower() for folder in folders}

    def _note(self, *, present, durable):
        if not note_entries(self.store_reader, self.environment, self.entries, present, durable=durable):
            self.rest = True

    def _share_rest(self):
        """Run pipm once for all files that the store did not have."""
        environment = ["--env", self.environment] if self.rest else []
        wheels = [f"/dev/fd/{file}={name}" for file, name in self.unknown]
        code, said = run_to_its_end(
            [*self.command, "after-pip", "--store", self.store_reader.path, *environment, *wheels],
            pass_fds=[file for file, _ in self.unknown],
            env={"PIPM_LOCK_TIMEOUT": "10", **os.environ},
        )
        if code:
            lines = said.decode("utf-8", "replace").strip().splitlines() or ["it failed"]
            told = [line for line in lines if line.startswith("error: ")] or lines[-1:]
            raise RuntimeError(f"{told[0].replace('error: ', '', 1)}")


def run_to_its_end(command, **options):
    """Run a program; return its exit code and stderr; raise KeyboardInterrupt after Ctrl-C.

    Ctrl-C is passed on to the child, which then cleans up: `subprocess.run` would kill it after a quarter of
    a second. A second Ctrl-C ends the waiting, not the child.
    """
    child = None
    asked = 0

    def ask(_number, _frame):
        nonlocal asked
        asked += 1
        if child is not None:
            child.send_signal(signal.SIGINT)
        if asked > 1:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    heeded = before not in (signal.SIG_IGN, None)
    if heeded:
        signal.signal(signal.SIGINT, ask)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            **options,
        )
        if asked:  # a signal between fork and exec is lost
            child.send_signal(signal.SIGINT)
        said = child.communicate()[1]
    finally:
        if heeded:
            signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt
    return child.returncode, said


def appear(make, stored, target, *, executable):
    """Link *stored* to *target*, replacing an existing file and creating missing folders."""
    for _ in range(2):
        try:
            return make(stored, target, executable)
        except FileExistsError:
            os.unlink(target)  # like pip
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
    return make(stored, target, executable)


def link(stored, target, _executable):
    """Make a hard link; PyPy has no ``follow_symlinks``, but *stored* is never a symlink."""
    os.link(stored, target)


def symlink(stored, target, _executable):
    """Make a symlink to the stored file."""
    os.symlink(stored, target)


def clone(stored, target, executable):
    """Make a reflink with pip's mode and the stored file's time."""
    source = os.open(stored, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.ioctl(copy, FICLONE, source)
            if executable:
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(copy, 0o777 & ~mask | 0o111)  # like pip
            status = os.fstat(source)
            os.utime(copy, ns=(status.st_mtime_ns, status.st_mtime_ns))
        except BaseException:
            os.unlink(target)
            raise
        finally:
            os.close(copy)
    finally:
        os.close(source)
