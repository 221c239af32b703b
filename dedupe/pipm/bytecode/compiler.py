"""The part of pipm that an environment's own interpreter runs: it checks and compiles bytecode.

Standard library only, CPython 3.6 and later, PyPy: this file is run as a script (`-I -S -B`), never
imported by what runs in an environment. Requests and answers are marshal data behind a length of four
bytes, on standard input and output:

    [("check", path of a .pyc, source mtime, source size), …]                      -> [bool, …]
    [("compare", path of a .pyc, source, its sha256, mtime, size, level), …]       -> [bool or None, …]
    [("compile", source, its sha256, co_filename, target, mtime, size, level), …]  -> [bool, 0 or None, …]

0 means that the disk failed, None that the source's bytes differ from its sha256 (in hexadecimal):
one read gives the bytes for hash and compilation.
"""

import gc
import marshal
import os
import sys
from importlib._bootstrap_external import MAGIC_NUMBER as MAGIC  # importlib.util takes as long as a start


def header(mtime, size):
    """The 16 bytes before the code: magic, flags (0: checked by time), time and size (PEP 552)."""
    return b"".join(number.to_bytes(4, "little") for number in (0, mtime, size))


def check(path, mtime, size):
    """Return whether *path* is this interpreter's timestamp bytecode of such a source, and can be loaded."""
    file = os.open(path, os.O_RDONLY)  # open() would make three more system calls
    try:
        data = os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)
    if data[:4] != MAGIC or data[4:16] != header(mtime & 0xFFFFFFFF, size & 0xFFFFFFFF):
        return False
    return isinstance(marshal.loads(memoryview(data)[16:]), CODE)


CODE = type(check.__code__)


def read_source(path, digest):
    """The bytes of the source at *path*; None where they do not hash to *digest*."""
    import hashlib  # noqa: PLC0415 - checks alone need none

    with open(path, "rb") as stream:
        text = stream.read()
    return text if hashlib.sha256(text).hexdigest() == digest else None


def compile_source(source, digest, filename, target, mtime, size, level):
    """Compile *source* into the new file *target*."""
    text = read_source(source, digest)
    if text is None:
        return None
    code = compile(text, filename, "exec", dont_inherit=True, optimize=level)
    with open(target, "wb") as stream:  # it may be there: of a process that ended
        stream.write(MAGIC + header(mtime, size) + marshal.dumps(code))
    return True


def compare(path, source, digest, mtime, size, level):
    """Whether *path* is what *source* compiles to today (code objects compare all but the file's name)."""
    text = read_source(source, digest)
    if text is None:
        return None
    with open(path, "rb") as stream:
        data = stream.read()
    if data[:16] != MAGIC + header(mtime & 0xFFFFFFFF, size & 0xFFFFFFFF):
        return False
    return marshal.loads(memoryview(data)[16:]) == compile(
        text, "", "exec", dont_inherit=True, optimize=level
    )


TASKS = {"check": check, "compile": compile_source, "compare": compare}


def answer(request):
    """Do one task; a source that does not compile or a torn .pyc is an answer, not a failure."""
    try:
        return TASKS[request[0]](*request[1:])
    except OSError:  # a full disk, say, tells nothing of the source
        return 0 if request[0] == "compile" else False
    except Exception:
        return False


def main():
    """Answer requests until standard input ends."""
    gc.disable()
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a codec or warning prints may get between the answers
    while True:
        length = requests.read(4)
        if len(length) < 4:
            return
        tasks = marshal.loads(requests.read(int.from_bytes(length, "little")))
        data = marshal.dumps([answer(task) for task in tasks], 2)
        answers.write(len(data).to_bytes(4, "little") + data)
        answers.flush()


if __name__ == "__main__":
    main()
