"""Errors with a message, a hint and an exit code."""

from __future__ import annotations


def redacted(text: str) -> str:
    """Return *text* with ``****`` for each password in a URL, and for each user name without one.

    A token is such a user name; the ``git@`` of SSH is none. All messages go through this function. A
    password may hold / ? # as they are, which no URL can: then there is no number where the port would be.
    """
    if "://" not in text or "@" not in text:
        return text
    import re  # noqa: PLC0415 - few messages name a URL with a user

    def masked(match: re.Match[str]) -> str:
        user, colon, _ = match[1].partition(":")
        if user == "git" and not colon:
            return match[0]
        return f"://{user}:****@" if colon else "://****@"

    return re.sub(r"://([^/?#\s]*|[^/?#\s:@[]+:(?!\d*[/?#\s])\S*)@", masked, text)


class PipmError(Exception):
    """An error with a message and a hint that says what to do.

    ``details`` is the whole output of another program, for --verbose.
    """

    kind = "failed"
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, details: str = "") -> None:
        # What another program, a lock or a setting says may have passwords in it.
        self.message = redacted(message)
        self.hint = None if hint is None else redacted(hint)
        self.details = redacted(details)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the hint."""
        return _rebuilt, (type(self), self.message, self.hint, self.details)


class UsageError(PipmError):
    """The command line is wrong."""

    kind = "usage"
    exit_code = 2


class NotAnEnvironmentError(PipmError):
    """The folder is not a virtual environment (PEP 405), or pipm must not change it."""

    kind = "not-an-environment"


class InterpreterError(PipmError):
    """The Python interpreter does not exist, does not run, or lacks a feature."""

    kind = "interpreter"


class NotFoundError(PipmError):
    """The subject is neither in the store nor in an environment."""

    kind = "not-found"


class StoreError(PipmError):
    """The store cannot be used as it is."""

    kind = "store"


class LockError(PipmError):
    """A lock that cannot be read or does not fit; names the file, the place in it and the package."""

    kind = "bad-lock"


class WheelError(PipmError):
    """A wheel that the store does not accept; names the archive and the member."""

    kind = "bad-wheel"


class FetchError(PipmError):
    """A distribution cannot be fetched, is not what the lock says, or cannot be built."""

    kind = "fetch"


class BuildError(FetchError):
    """A project of this disk cannot be built; ``details`` is all that its build backend printed."""


class RemoteError(PipmError):
    """A remote cannot be used, or what it has is not what its signer says."""

    kind = "remote"

    def __init__(self, message: str, *, hint: str | None = None, details: str = "") -> None:
        damaged = "the remote was damaged or changed, or its signer did that: push it again"
        super().__init__(message, hint=hint or damaged, details=details)


class CollisionError(PipmError):
    """Two distributions bring different files of one path."""

    kind = "collision"


class LinkingImpossibleError(PipmError):
    """No link mode that was asked for works between the store and the environment."""

    kind = "cannot-link"


class BusyError(PipmError):
    """Another process held the lock longer than the timeout."""

    kind = "busy"


class FileSystemError(PipmError):
    """The disk is full, read-only, out of quota, or broken."""

    kind = "file-system"


class FullDiskError(FileSystemError):
    """The disk has not even the room that is needed before any comes free."""


class OutputError(PipmError):
    """Standard output cannot be written."""

    kind = "output"


class InterruptedRunError(PipmError):
    """Ctrl-C: finished work stays; the same command continues."""

    kind = "interrupted"
    exit_code = 130


def _rebuilt(kind: type[PipmError], message: str, hint: str | None, details: str) -> PipmError:
    return kind(message, hint=hint, details=details)
