"""What goes wrong, with the words and the exit code that a person sees."""

from __future__ import annotations


def redacted(text: str) -> str:
    """*text* with ``****`` for each password in an URL, and for each user who comes without one.

    A token is such a user; the ``git@`` of SSH is none. Everything that a person sees goes through this.
    """
    if "://" not in text or "@" not in text:
        return text
    import re  # noqa: PLC0415 - few messages name a URL with a user

    def masked(match: re.Match[str]) -> str:
        user, colon, _ = match["user"].partition(":")
        if user == "git" and not colon:
            return match[0]
        return f"://{user}:****@" if colon else "://****@"

    return re.sub(r"://(?P<user>[^/?#\s]*)@", masked, text)


class PipmError(Exception):
    """A failure that is explained to the person: what, why, and what to do about it.

    ``details`` is the whole of what another program said, for who wants to see it.
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
        """Travel between processes with the hint."""
        return _rebuilt, (type(self), self.message, self.hint, self.details)


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
    """A distribution cannot be fetched, is not what the lock says, or cannot be built."""

    kind = "fetch"


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
    """Another process holds the lock for longer than we wait."""

    kind = "busy"


class FileSystemError(PipmError):
    """The disk is full, read-only, out of quota, or broken."""

    kind = "file-system"


class OutputError(PipmError):
    """Standard output cannot be written."""

    kind = "output"


class InterruptedRunError(PipmError):
    """Ctrl-C: what was done is sound, the same command finishes the rest."""

    kind = "interrupted"
    exit_code = 130


def _rebuilt(kind: type[PipmError], message: str, hint: str | None, details: str) -> PipmError:
    return kind(message, hint=hint, details=details)
