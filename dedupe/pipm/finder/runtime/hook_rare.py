"""The part of the finder's hook that few interpreter starts need; installed beside the hook.

Loaded when files are missing, the environment was moved, or its lock file has another time. Uses only the
standard library, like the hook.
"""

import hashlib
import json
import marshal
import os
import sys
import time
import zlib


def register(found):
    """Write a root for the environment's new path, so that gc keeps the entries that it uses.

    A copied environment gets its own root, too. This happens once, because the table is then rewritten.
    """
    try:
        _register(found)
    except (OSError, ValueError, EOFError):
        pass  # a read-only environment or store; gc keeps entries that were used recently


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
    """Use the folder ``site`` of an entry that was rebuilt without its ``site-packages``; else raise."""
    if found.leaf == "site" or not os.path.isdir(f"{found.trees[number]}/site"):
        raise missing(found, fullname, number)
    found.leaf = "site"
    found.known = found.known.union(map(found.folder, range(len(found.entries))))


def show(found):
    """Add the folders of distributions that were installed while the program runs to `sys.path`."""
    new = [folder for folder in found.folders() if folder not in sys.path]
    sys.path_importer_cache.update(dict.fromkeys(new))
    if found.path in sys.path:
        at = sys.path.index(found.path) + 1
        sys.path[at:at] = new


def missing(found, fullname, number):
    """Return the error for a module with missing files; it says how to repair the environment."""
    wheels, name, version, _ = found.trees[number].rsplit("/", 3)
    store = wheels[: -len("/v1/wheels")]
    if os.path.isdir(wheels):
        text = f"{name} {version} is no longer in pipm's store {store}"
    elif found.entries[number][0] == "/":
        text = f"pipm's layer {store}, which has {name} {version}, is not mounted; mount it there"
    else:
        text = f"pipm's store {found.store}, which has {name} {version}, does not exist"
        text += "; set PIPM_STORE if it was moved"
    remedy = found.remedy.format(name=name, version=version)
    return ImportError(f"{text}; to repair it: {remedy}", name=fullname)


def warn_stale(found, status, request):
    """Print that the lock with the stat *status* changed, if it did; *request* is PIPM_STALE."""
    path, _, size, digest, remedy = found.lock
    if status.st_size == size and is_touched(found, path, digest, status):
        return
    kind = "error" if request == "error" else "warning"
    text = f"{kind}: {path} changed since {found.environment} was made from it\n\n"
    if sys.stderr is not None:
        sys.stderr.write(f"{text}hint: {remedy}; PIPM_STALE=ignore silences this\n")
        sys.stderr.flush()
    if request == "error":
        os._exit(1)  # an exception would be ignored by `site`, or reported as a fatal error
    os.environ["PIPM_STALE_TOLD"] = found.environment  # child processes do not print it again


def is_touched(found, path, digest, status):
    """Return True if only the lock's time changed; then write that into the table for the next start."""
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
    """Write a small file atomically."""
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name}.{os.getpid()}"
    with open(temporary, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
