"""The key that signs pushed indexes, and the keys that pull trusts (ed25519 by PyNaCl)."""

from __future__ import annotations

import base64
import binascii
import os
from typing import NamedTuple

from pipm.core.digest import Digest
from pipm.errors import RemoteError, UsageError
from pipm.fs.beneath import read_file
from pipm.fs.durability import write_file
from pipm.fs.home import config_home
from pipm.fs.own_files import make_folders
from pipm.fs.trust import foreign_part
from pipm.remote.extra_libraries import extra_library
from pipm.store.configuration import find_setting

_SECRET, _PUBLIC = "pipm-secret-ed25519:", "pipm-ed25519:"
_SIGNATURE = 64
_CONTEXT = b"pipm remote index 1\0"
"""The prefix of signed data, so that a signature for another purpose is not valid."""


def unsigned(signed: bytes) -> bytes:
    """Return the data after the signature in *signed*, without checking it."""
    return signed[_SIGNATURE:]


class PublicKey(NamedTuple):
    """A public key, with which signatures are checked."""

    raw: bytes

    @property
    def text(self) -> str:
        """The key as text for users."""
        return _PUBLIC + base64.b64encode(self.raw).decode("ascii")

    @property
    def name(self) -> str:
        """The name of the key's index in a remote."""
        return Digest.of(self.raw).hex()[:32]

    def opened(self, signed: bytes) -> bytes:
        """Return the data after the signature in *signed*; raise RemoteError if the signature is wrong."""
        signing = extra_library("nacl.signing")
        data = unsigned(signed)
        try:
            signing.VerifyKey(self.raw).verify(_CONTEXT + data, signed[:_SIGNATURE])
        except (extra_library("nacl.exceptions").CryptoError, ValueError) as error:
            raise RemoteError(
                f"The key {self.text} did not sign the remote's index",
                hint="somebody changed it in the remote or on the way: do not use it",
            ) from error
        return data


class SecretKey(NamedTuple):
    """A secret key that signs pushed indexes."""

    raw: bytes

    @property
    def public(self) -> PublicKey:
        """The public key that checks these signatures."""
        return PublicKey(bytes(extra_library("nacl.signing").SigningKey(self.raw).verify_key))

    def signed(self, data: bytes) -> bytes:
        """Return *data* after its signature."""
        signature: bytes = extra_library("nacl.signing").SigningKey(self.raw).sign(_CONTEXT + data).signature
        return signature + data


def _folder() -> str:
    return f"{config_home()}/pipm"


def secret_path() -> str:
    """Return the path of the secret key."""
    return f"{_folder()}/signing.key"


def trusted_path() -> str:
    """Return the path of the list of trusted keys."""
    return f"{_folder()}/trusted-keys"


def new_key() -> PublicKey:
    """Make a key, and trust it; raise UsageError if there is one already."""
    if os.path.lexists(secret_path()):
        raise UsageError(
            f"There is a key in {secret_path()}",
            hint="pipm key show prints it; move the file to make another",
        )
    key = SecretKey(bytes(extra_library("nacl.signing").SigningKey.generate()))
    make_folders(_folder())
    write_file(secret_path(), _SECRET.encode() + base64.b64encode(key.raw) + b"\n")
    trust_key(key.public.text)
    return key.public


def trust_key(text: str) -> PublicKey:
    """Add a key to the list of trusted keys."""
    key = _parsed(text)
    known = _lines(trusted_path())
    if key.text not in known:
        make_folders(_folder())
        write_file(trusted_path(), "".join(f"{line}\n" for line in (*known, key.text)).encode())
    return key


def signing_key() -> SecretKey:
    """Return the key in ``PIPM_SIGNING_KEY`` (a file, or the key), else the user's; raise UsageError."""
    setting = os.environ.get("PIPM_SIGNING_KEY", "")
    path = setting or secret_path()
    lines = (setting.strip(),) if setting.startswith(_SECRET) else _lines(path)
    for line in lines:
        if line.startswith(_SECRET):
            return SecretKey(_raw(line.removeprefix(_SECRET), "PIPM_SIGNING_KEY"))
    raise UsageError(
        f"There is no key to sign with{f' in {path}' if setting else ''}", hint="make one: pipm key new"
    )


def trusted_keys() -> list[PublicKey]:
    """Return the keys of the setting, otherwise of the user's list; raise UsageError if there is none."""
    chosen, source = find_setting("trusted-keys")
    texts = chosen.replace(",", " ").split() if source else _lines(trusted_path())
    keys = [_parsed(text) for text in texts if not text.startswith("#")]
    if not keys:
        raise UsageError(
            "You trust no key, so pipm cannot trust a remote's data",
            hint="ask the person who pushes for the key (pipm key show), then: pipm key trust KEY",
        )
    return list(dict.fromkeys(keys))


def _parsed(text: str) -> PublicKey:
    if not text.startswith(_PUBLIC):
        raise UsageError(f"{text[:60]!r} is not a public key", hint=f"one begins with {_PUBLIC}")
    return PublicKey(_raw(text.removeprefix(_PUBLIC), text))


def _raw(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise UsageError(f"{what} is not a valid key", hint="copy all of it")
    return raw


def _lines(path: str) -> tuple[str, ...]:
    """Return the lines of a list of keys; raise UsageError if another user can change it."""
    path = os.path.abspath(path)
    if not os.path.lexists(path):
        return ()
    foreign = foreign_part(path)
    if foreign is not None:
        raise UsageError(
            f"Another user can change {foreign}, so pipm trusts no key in {path}", hint="chmod go-w"
        )
    text = (read_file(os.path.realpath(path)) or b"").decode("utf-8", "replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
