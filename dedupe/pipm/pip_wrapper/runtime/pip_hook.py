"""The part of pipm that runs inside an environment's pip: files come out of the store.

Theory of operation. pip writes each file of a wheel by one method, ``ZipBackedFile.save`` (the same from
20.2 to 26.3), and compiles by its module's global ``compileall``. Both are replaced by "link the same
content out of the store, else what pip does". All the rest stays pip's: resolver, RECORD, scripts,
metadata, rollback, messages, exit code.

What a file must contain is known in two ways. Of an archive that the store knows by its sha256, the
entry's manifest tells. Of any other, RECORD tells what to look for, and the member is unpacked and
hashed before that is believed (RECORD may lie). A stored object is taken while its time is the one that
the manifest records; where no manifest is at hand, it is read.

What the store did not have becomes pip's own file. When pip is done, the ``pipm`` that left this file
here is run once to share that too, so that the next environment has it. The archive stays open until
then, since pip removes its own copy before.

Whatever goes wrong here, pip does what it always does, and one line on stderr says why.
``PIPM_PIP=off`` switches it off.

Lies in ``.pipm``, in the package ``_pipm_pip``. Standard library only, CPython 3.9 and later, PyPy. pip 26.1
and later forbid imports while they install, so everything is imported here, when pip's module is.
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

from _pipm_pip.shelf import (
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
"""Archives kept open for the end; of more than these the files are shared, and the archive stays unknown."""
HARMLESS = (errno.EMLINK, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT)
"""One stored file has all the links that it can have; or pip's own attempt says what is wrong."""


sessions = []
"""The one of this run, once pip's first module of interest was loaded."""


def loaded(module):
    """Begin the session when pip's first module of interest is there; change the one that installs."""
    if os.environ.get("PIPM_PIP", "").lower() in ("off", "0", "no", "false"):
        return
    if not sessions:
        sessions.append(PipSession(os.path.realpath(sys.prefix)))
        atexit.register(sessions[0].finish)
    if hasattr(module, "ZipBackedFile"):
        let_in(module, sessions[0])


def let_in(module, session):
    """Replace pip's way to write and to compile a file in its wheel module."""
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
    """What is known of an archive: member → sha256, and where its own sha256 vouches for it member → row.

    ``entry`` is the store's, until the environment's root has it.
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
        self.make_bytecode = symlink if self.make is symlink else link  # Python replaces it, nobody edits it
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
        """Make pip's *file* appear out of the store; False: pip shall write it."""
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
                self.wheel.digests = {}  # it goes elsewhere: --target, a build environment
            elif error.errno not in HARMLESS:
                self.give_up(error)
        except Exception as error:
            self.give_up(error)
        return False

    def saved(self, file):
        """Take note of a file that pip wrote: it can be shared at the end."""
        if self.off or not self.wheel.shareable or is_private(file.src_record_path):
            return
        try:
            size = os.stat(file.dest_path).st_size
            if not size and file.dest_path.endswith(".py"):
                row = (self.wheel.rows or {}).get(file.src_record_path)
                if row is not None and row.digest == EMPTY:
                    # Never shared, but its bytecode is, and goes by this time.
                    os.utime(file.dest_path, ns=(row.mtime_ns, row.mtime_ns))
                    self._remember(file, EMPTY, row.mtime_ns)
            elif size and not file.src_record_path.endswith(".dist-info/RECORD"):
                self.rest = self.rest or self._is_inside(file.dest_path)
        except Exception as error:
            self.give_up(error)

    def place_bytecode(self, path):
        """Make the bytecode of the source *path* appear out of the store; False: pip shall compile it."""
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
        """Take note of bytecode that pip made: it can be shared at the end."""
        if done and self.store_reader.pool is not None and os.path.normpath(path) in self.sources:
            self.rest = self.rest or self._is_inside(path)

    def give_up(self, reason):
        """Let pip go on alone, and say why, once."""
        if not self.off and sys.stderr is not None:
            text = " ".join(str(reason).split()) or type(reason).__name__
            sys.stderr.write(f"pipm: pip works without the store: {text}\n")
        self.off = True

    def finish(self):
        """Share what pip wrote, and keep the environment's root true, when pip is done."""
        if os.getpid() != self.process:  # a fork of pip's
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
            return  # what pip did is done; the next run or `pipm adopt` shares it

    def _place(self, file):
        member = file.src_record_path
        digest = self.wheel.digests.get(member)
        if digest is None or is_private(member):
            return False
        archive = self.wheel.archive
        info = archive.getinfo(member)
        bits = info.external_attr >> 16
        executable = bool(stat.S_ISREG(bits) and bits & 0o111)  # as pip sees it
        if not info.file_size:
            return False
        if self.wheel.rows is None:
            found = self._find_unproven(archive, info, digest, executable=executable)
            self.rest = self.rest or (found is not None and self._is_inside(file.dest_path))
            stored, mtime_ns = found or (None, 0)  # its entry is not in the root yet
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
        """The object of a member of which RECORD alone says what it is: path and time, or None."""
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
        """Note content and time of a source: its bytecode is the store's. Of data files nobody keeps that."""
        if file.dest_path.endswith(".py") and entry_path(file.src_record_path).startswith("site/"):
            self.sources[os.path.normpath(file.dest_path)] = (digest, mtime_ns)

    def _open_wheel(self, archive):
        """Find out what the store knows of the archive; keeps one that it does not know open."""
        path = archive.filename
        if "pip-ephem-wheel-cache-" in path:  # built here and now: nobody else will have just that
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
        """The normalised names (PEP 503) of what is installed."""
        names = (name for site in self.sites for name in os.listdir(site))
        folders = (name[:-10] for name in names if name.endswith(".dist-info"))
        return {re.sub(r"[-_.]+", "-", folder.partition("-")[0]).lower() for folder in folders}

    def _note(self, *, present, durable):
        if not note_entries(self.store_reader, self.environment, self.entries, present, durable=durable):
            self.rest = True

    def _share_rest(self):
        """Run pipm once for all that the store did not have."""
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
    """Run a program; its exit code and what it wrote to stderr. KeyboardInterrupt when Ctrl-C ended it.

    That is passed on and waited for: `subprocess.run` kills a child that is not done a quarter of a second
    after it, and what this one was to tidy up stays. At the second Ctrl-C it is left to end by itself.
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
        if asked:  # between fork and exec, perhaps, where it is lost
            child.send_signal(signal.SIGINT)
        said = child.communicate()[1]
    finally:
        if heeded:
            signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt
    return child.returncode, said


def appear(make, stored, target, *, executable):
    """Make *stored* appear at *target*, over what is there; missing folders are made."""
    for _ in range(2):
        try:
            return make(stored, target, executable)
        except FileExistsError:
            os.unlink(target)  # as pip does
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
    return make(stored, target, executable)


def link(stored, target, _executable):
    """One inode for both. The stored name is a file and no symbolic link, and PyPy has no other call."""
    os.link(stored, target)


def symlink(stored, target, _executable):
    """The environment's name leads to the store's."""
    os.symlink(stored, target)


def clone(stored, target, executable):
    """An inode of its own over the same blocks, with the mode that pip gives and the store's time."""
    source = os.open(stored, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.ioctl(copy, FICLONE, source)
            if executable:
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(copy, 0o777 & ~mask | 0o111)  # as pip does
            status = os.fstat(source)
            os.utime(copy, ns=(status.st_mtime_ns, status.st_mtime_ns))
        except BaseException:
            os.unlink(target)
            raise
        finally:
            os.close(copy)
    finally:
        os.close(source)
