"""Checking and compiling bytecode; an environment's own interpreter runs this file.

It needs only the standard library, of CPython 3.6 and later or PyPy. It is run as a script (`-I -S -B`); no
program in an environment imports it. Requests and answers on standard input and output are a length of four
bytes and marshal data:

    [("check", path of a .pyc, source mtime, source size), …]                      -> [bool, …]
    [("compare", path of a .pyc, source, its sha256, mtime, size, level), …]       -> [bool or None, …]
    [("compile", source, its sha256, co_filename, target, mtime, size, level), …]  -> [bool, 0 or None, …]

0 means that the disk failed, None that the source does not have its sha256 (in hexadecimal). The source is
read once, so the compiled bytes are the hashed ones.
"""

import gc
import marshal
import os
import sys
from importlib._bootstrap_external import MAGIC_NUMBER as MAGIC  # importlib.util takes as long as a start


def header(mtime, size):
    """Return the 12 bytes after the magic number: flags (0: checked by time), time, size (PEP 552)."""
    return b"".join(number.to_bytes(4, "little") for number in (0, mtime, size))


def check(path, mtime, size):
    """Return whether *path* can be loaded and is this interpreter's bytecode of such a source."""
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
    """Return the bytes of the source at *path*; None if their sha256 is not *digest*."""
    import hashlib  # noqa: PLC0415 - checks do not need it

    with open(path, "rb") as stream:
        text = stream.read()
    return text if hashlib.sha256(text).hexdigest() == digest else None


def compile_source(source, digest, filename, target, mtime, size, level):
    """Compile *source* into the file *target*; return None if its sha256 is not *digest*."""
    text = read_source(source, digest)
    if text is None:
        return None
    code = compile(text, filename, "exec", dont_inherit=True, optimize=level)
    with open(target, "wb") as stream:  # a process that died may have left the file
        stream.write(MAGIC + header(mtime, size) + marshal.dumps(code))
    return True


def compare(path, source, digest, mtime, size, level):
    """Return whether *source* compiles to the code in *path* (co_filename is not compared)."""
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
    """Do one task; return False for a source that does not compile and for a damaged .pyc."""
    try:
        return TASKS[request[0]](*request[1:])
    except OSError:  # a full disk, for example: the source may be good
        return 0 if request[0] == "compile" else False
    except Exception:
        return False


def main():
    """Answer requests until standard input ends."""
    gc.disable()
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a codec or a warning prints must not get between the answers
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
