"""Faults at system calls: a tracer decides before each call of a process tree.

Like strace's `inject`, which stops at every call of every process and takes several times as long: here the
kernel hands the one call over (`SECCOMP_RET_USER_NOTIF`), and all others run at full speed.
"""

from __future__ import annotations

import collections
import ctypes
import errno
import os
import select
import signal
import struct
import time
from fcntl import ioctl

LISTENER = 99
"""The descriptor by which the asking process keeps its questions until they are fetched."""
FILTER = f"""
LISTENER = {LISTENER}
def ask(number):
    import ctypes, struct
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x7FC00000), (6, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
    new_listener, killable = 8, 32  # else a signal makes a call ask twice
    found = ctypes.CDLL(None, use_errno=True).syscall(317, 1, new_listener | killable, program)
    if found < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    os.dup2(found, LISTENER)
    os.close(found)
"""
"""Source of the function that hands over the call of this number (x86-64)."""
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_PIDFD_GETFD = 438


def listener_of(process: int, seconds: float) -> int:
    """Return a copy of the descriptor of the questions of *process*, as soon as it has it."""
    handle = os.pidfd_open(process)
    end = time.monotonic() + seconds
    try:
        while True:
            found = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, handle, LISTENER, 0)
            if found >= 0:
                return int(found)
            if time.monotonic() > end:
                raise OSError(ctypes.get_errno(), "no process that asks")
            time.sleep(0.0005)
    finally:
        os.close(handle)


def answer(listener: int, number: int, fault: str, seconds: float) -> bool:
    """Let all calls go on but the *number*-th of each thread, until no process is left that asks.

    Returns False if there still is one after so many seconds without a call.
    """
    counts: collections.Counter[int] = collections.Counter()
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while found := poll.poll(seconds * 1000):
        if found[0][1] & select.POLLHUP:
            return True
        question = bytearray(80)
        try:
            ioctl(listener, _RECEIVE, question)
        except OSError as error:
            if error.errno == errno.ENOENT:  # it died meanwhile
                continue
            raise
        name, thread = struct.unpack_from("QI", question)
        counts[thread] += 1
        if counts[thread] == number and fault == "KILL":
            os.kill(thread, signal.SIGKILL)
            continue
        wrong = -getattr(errno, fault) if counts[thread] == number else 0
        said = struct.pack("QqiI", name, 0, wrong, 0 if wrong else _CONTINUE)
        try:
            ioctl(listener, _SEND, said)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
    return False
