"""The part of the finder's hook that few interpreter starts need; it lies beside the hook.

Loaded by the hook's `seldom`: when files are missing, the environment was moved, or its lock file has
another time. Standard library only, as the hook.
"""

import hashlib
import json
import marshal
import os
import sys
import time
import zlib


def register(found):
    """Tell the store that the environment lies elsewhere now: what it uses must not be collected.

    A copy of an environment is another one and gets a root of its own. Done once, as the table is rewritten.
    """
    try:
        _register(found)
    except (OSError, ValueError, EOFError):
        pass  # a read-only environment or store; the collector keeps what was used of late


def _register(found):
    roots = f"{found.store}/v1/roots"
    names = [
        hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
        for path in (found.recorded, os.path.realpath(found.environment))
    ]
    with open(f"{roots}/{names[0]}", encoding="ascii") as stream:
        root = json.load(stream)
    marker = os.stat(f"{found.environment}/pyvenv.cfg")
    path = os.path.realpath(found.environment)
    root.update(path=path, device=marker.st_dev, inode=marker.st_ino, seen=time.time(), missing=0.0)
    replace(f"{roots}/{names[1]}", json.dumps(root, indent=1).encode("ascii"))
    rewrite(found, 1, path)


def find_unplanned(found, fullname, number):
    """Go on with an entry that was made anew, without the name that looks like a library's; else raise."""
    if found.leaf == "site" or not os.path.isdir(f"{found.root}{found.entries[number]}/site"):
        raise missing(found, fullname, number)
    found.leaf = "site"
    found.known = found.known.union(map(found.folder, range(len(found.entries))))


def show(found):
    """Let `sys.path` have the folders of what came while the program runs."""
    new = [folder for folder in found.folders() if folder not in sys.path]
    sys.path_importer_cache.update(dict.fromkeys(new))
    if found.path in sys.path:
        at = sys.path.index(found.path) + 1
        sys.path[at:at] = new


def missing(found, fullname, number):
    """The error of a module whose files are gone; says what to do."""
    name, version = found.entries[number].split("/")[:2]
    if os.path.isdir(found.root):
        text = f"{name} {version} is no longer in pipm's store {found.store}"
    else:
        text = f"pipm's store {found.store}, which has {name} {version}, is not there"
        text += "; set PIPM_STORE if it was moved"
    remedy = found.remedy.format(name=name, version=version)
    return ImportError(f"{text}; to repair it: {remedy}", name=fullname)


def tell_stale(found, status, request):
    """Say that the lock, whose stat is *status*, changed, if it did; *request* is PIPM_STALE."""
    path, _, size, digest, remedy = found.lock
    if status.st_size == size and is_touched(found, path, digest, status):
        return
    kind = "error" if request == "error" else "warning"
    text = f"{kind}: {path} changed since {found.environment} was made from it\n\n"
    if sys.stderr is not None:
        sys.stderr.write(f"{text}hint: {remedy}; PIPM_STALE=ignore silences this\n")
        sys.stderr.flush()
    if request == "error":
        os._exit(1)  # whatever is raised here, site goes on, or Python calls it a fatal error of its own
    os.environ["PIPM_STALE_TOLD"] = found.environment  # children need not say it again


def is_touched(found, path, digest, status):
    """Whether the lock has a new time only; the table notes that, so that the next start reads nothing."""
    try:
        with open(path, "rb") as stream:
            if hashlib.sha256(stream.read()).hexdigest() != digest:
                return False
        rewrite(found, 11, (path, status.st_mtime_ns, *found.lock[2:]))
    except (OSError, ValueError, EOFError):
        pass  # a read-only environment: each start reads the lock
    return True


def rewrite(found, number, value):
    """Change one field of the table."""
    with open(found.file, "rb") as stream:
        data = list(marshal.load(stream))
    data[number] = value
    text = marshal.dumps(tuple(data), 4)
    replace(found.file, text + zlib.crc32(text).to_bytes(4, "little"))


def replace(path, data):
    """Write a small file as a whole or not at all."""
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name}.{os.getpid()}"
    with open(temporary, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
