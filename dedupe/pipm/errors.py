"""What goes wrong, with the words and the exit code that a person sees."""

from __future__ import annotations


class PipmError(Exception):
    """A failure that is explained to the person: what, why, and what to do about it."""

    kind = "failed"
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes with the hint."""
        return _rebuilt, (type(self), self.message, self.hint)


class UsageError(PipmError):
    """The command line asks for something that makes no sense."""

    kind = "usage"
    exit_code = 2


class NotAnEnvironmentError(PipmError):
    """The folder is no virtual environment (PEP 405), or one that pipm must not touch."""

    kind = "not-an-environment"


class InterpreterError(PipmError):
    """There is no such Python interpreter, or it cannot do what is asked of it."""

    kind = "interpreter"


class NotFoundError(PipmError):
    """What was asked about is neither in the store nor in an environment."""

    kind = "not-found"


class StoreError(PipmError):
    """The store cannot be used as it is."""

    kind = "store"


class LockError(PipmError):
    """A lock that cannot be read or does not fit; names the file, the place in it and the package."""

    kind = "bad-lock"


class WheelError(PipmError):
    """A wheel that is not let into the store; names the archive and the member."""

    kind = "bad-wheel"


class FetchError(PipmError):
    """A distribution cannot be fetched, is not what the lock promises, or cannot be built."""

    kind = "fetch"


class CollisionError(PipmError):
    """Two distributions bring different files of one path."""

    kind = "collision"


class LinkingImpossibleError(PipmError):
    """No link mode that was asked for works between the store and the environment."""

    kind = "cannot-link"


class BusyError(PipmError):
    """Another process holds the lock for longer than we wait."""

    kind = "busy"


class FileSystemError(PipmError):
    """The disk is full, read-only, out of quota, or broken."""

    kind = "file-system"


class InterruptedRunError(PipmError):
    """Ctrl-C: what was done is sound, the same command finishes the rest."""

    kind = "interrupted"
    exit_code = 130


def _rebuilt(kind: type[PipmError], message: str, hint: str | None) -> PipmError:
    return kind(message, hint=hint)
