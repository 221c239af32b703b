"""Digest, DiskUsage, reasons and errors."""

from __future__ import annotations

import hashlib
import os
import pickle
import py_compile
import re
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipm.core import distribution_names
from pipm.core.bytecode import bytecode_key, bytecode_mtime_ns, header_time, parse_bytecode_key
from pipm.core.digest import EMPTY, Digest, digest_of
from pipm.core.disk_usage import DiskUsage
from pipm.core.named_tuple import NamedTuple
from pipm.core.reasons import Reason
from pipm.errors import BusyError, InterruptedRunError, PipmError, UsageError, WheelError

if TYPE_CHECKING:
    from pathlib import Path

digests = st.binary(min_size=32, max_size=32).map(Digest)
usages = st.builds(
    DiskUsage,
    apparent=st.integers(0, 1 << 50),
    on_disk=st.integers(0, 1 << 50),
    exclusive=st.integers(0, 1 << 50),
    files=st.integers(0, 1 << 20),
)


@given(digests)
def test_a_digest_survives_its_spellings(digest: Digest) -> None:
    assert Digest.from_hex(digest.hex()) == digest
    assert Digest.from_record(digest.record) == digest
    assert "=" not in digest.record.removeprefix("sha256=")
    name = digest.object_name(executable=False)
    assert Digest.from_hex(name.replace("/", "")) == digest
    assert digest.object_name(executable=True) == f"{name}-x"
    assert digest.object_name(executable=False, writable=True) == f"{name}-w"
    assert digest.object_name(executable=True, writable=True) == f"{name}-xw"
    assert name.index("/") == 2


@given(st.lists(st.binary(max_size=300)))
def test_chunks_have_the_digest_of_the_whole(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert digest_of(chunks) == Digest.of(whole) == hashlib.sha256(whole).digest()


@given(digests)
def test_the_time_that_an_old_store_gave_a_content(digest: Digest) -> None:
    bits = int(digest.hex(), 16) >> (256 - 30)
    assert digest.legacy_mtime_ns == (315619200 + bits) * 10**9
    assert header_time(digest.legacy_mtime_ns) == 315619200 + bits  # a .pyc's header has room for it


@pytest.mark.parametrize("rest", [0, 1, 500_000_000, 999_999_000, 999_999_880, 999_999_999])
def test_a_header_has_the_time_that_python_reads(tmp_path: Path, rest: int) -> None:
    path = tmp_path / "source.py"
    path.write_bytes(b"")
    os.utime(path, ns=(0, 1_700_000_000 * 10**9 + rest))
    py_compile.compile(str(path), str(tmp_path / "source.pyc"), doraise=True)
    written = int.from_bytes((tmp_path / "source.pyc").read_bytes()[8:12], "little")
    assert header_time(path.stat().st_mtime_ns) == written


@given(digests, st.integers(-(1 << 62), 1 << 62))
def test_the_name_of_bytecode_tells_source_and_time(digest: Digest, mtime_ns: int) -> None:
    time = header_time(mtime_ns)
    assert 0 <= time < 2**32
    key = bytecode_key(digest, time)
    assert parse_bytecode_key(key) == (digest, time)
    assert key.startswith(digest.hex())
    assert header_time(bytecode_mtime_ns(time)) == time


@given(digests)
def test_bytecode_of_an_old_store_keeps_its_name(digest: Digest) -> None:
    assert bytecode_key(digest, header_time(digest.legacy_mtime_ns)) == digest.hex()


@pytest.mark.parametrize("ending", ["-", "-0", "-000000000", "-none", "0", "-xyzxyzxy"])
def test_other_names_are_no_bytecode(ending: str) -> None:
    with pytest.raises(ValueError, match=r"bytecode|invalid literal"):
        parse_bytecode_key(EMPTY.hex() + ending)


@given(
    st.text("aB1._-é", min_size=1, max_size=8),
    st.text("019.abrcpostdev-+", min_size=1, max_size=12) | st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,3}"),
    st.sampled_from(["dist-info", "egg-info", "egg-link"]),
)
def test_a_metadata_folder_is_read_alike_with_and_without_packaging(
    name: str, version: str, kind: str
) -> None:
    metadata = f"{name}-{version}.{kind}"
    quick = distribution_names.name_and_version(metadata)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution_names, "_PLAIN", re.compile("(?!)"))
        assert distribution_names.name_and_version(metadata) == quick


def test_usual_metadata_folders_need_no_packaging() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "packaging.utils", None)
        found = distribution_names.name_and_version("Ruamel.Yaml_clib-2026.10.post1.dist-info")
        assert found == ("ruamel-yaml-clib", "2026.10.post1")


def test_known_spellings() -> None:
    assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert EMPTY.record == "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    assert EMPTY.legacy_mtime_ns == (315619200 + (0xE3B0C442 >> 2)) * 10**9


@pytest.mark.parametrize(
    "text",
    ["", "00", "0" * 63, "0" * 65, "g" * 64, " " + "0" * 64, "00 " * 21 + "0", "0" * 62 + " 0", "é" * 64],
)
def test_not_64_hexadecimal_digits(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a sha256|hexadecimal"):
        Digest.from_hex(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256=",
        "sha256=abc",
        "sha256=" + "é" * 43,
        "sha512=" + "A" * 86,
        "md5=1B2M2Y8AsgTpgAmY7PhCfg",
        "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
        "SHA256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
    ],
)
def test_no_sha256_of_a_record(text: str) -> None:
    assert Digest.from_record(text) is None


@given(st.text())
def test_any_text_may_stand_in_a_record(text: str) -> None:
    found = Digest.from_record(f"sha256={text}")
    assert found is None or len(found) == 32


@given(usages, usages)
def test_usages_add_up(one: DiskUsage, other: DiskUsage) -> None:
    both = one + other
    assert both.shared == one.shared + other.shared
    assert (both.apparent, both.files) == (one.apparent + other.apparent, one.files + other.files)
    assert both.on_disk == both.shared + both.exclusive


def test_reasons_are_told_apart() -> None:
    assert len({reason.value for reason in Reason}) == len(Reason)
    surprises = {reason for reason in Reason if not reason.expected}
    assert {Reason.MODIFIED, Reason.CHANGED_SHARED, Reason.OPEN, Reason.OTHER_OWNER} <= surprises
    assert {Reason.EMPTY, Reason.SCRIPT, Reason.CONTESTED, Reason.MISSING}.isdisjoint(surprises)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(PipmError, 1), (WheelError, 1), (BusyError, 1), (UsageError, 2), (InterruptedRunError, 130)],
)
def test_errors_travel_with_their_hint(kind: type[PipmError], code: int) -> None:
    error = kind("what happened", hint="what helps")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.message, again.hint, again.exit_code) == (
        "what happened",
        "what happened",
        "what helps",
        code,
    )


def test_every_kind_of_error_has_a_name_of_its_own() -> None:
    kinds: list[type[PipmError]] = [PipmError, *PipmError.__subclasses__()]
    assert len(kinds) > 5
    assert len({kind.kind for kind in kinds}) == len(kinds)


class Point(NamedTuple):
    """A point with a method."""

    x: int
    y: int = 2

    @property
    def total(self) -> int:
        """The sum."""
        return self.x + self.y


def test_a_named_tuple_is_one_of_typing() -> None:
    point = Point(1)
    assert (point, point._fields, Point._field_defaults) == ((1, 2), ("x", "y"), {"y": 2})
    assert (point.total, point._replace(y=5).total, repr(point)) == (3, 6, "Point(x=1, y=2)")
    assert (Point.__doc__, Point.__module__, Point.__bases__) == (
        "A point with a method.",
        __name__,
        (tuple,),
    )
    assert pickle.loads(pickle.dumps(point)) == point
    assert type(pickle.loads(pickle.dumps(point))) is Point
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]
