"""The tar archive of an image."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from pipm.core.digest import Digest
from pipm.errors import StoreError
from pipm.fs.image_files import DIRECTORY, ImageFile, write_tar

if TYPE_CHECKING:
    from pathlib import Path

TIME = 315532800
LONG = f"v1/{'long/' * 30}module.py"


def archive_of(*files: ImageFile) -> bytes:
    """What `write_tar` writes."""
    stream = io.BytesIO()
    write_tar(stream, files, TIME)
    return stream.getvalue()


def test_an_archive_is_what_tarfile_writes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "source").write_bytes(content)
    source = ImageFile(LONG, 0o444, source=f"{tmp_path}/source", digest=Digest.of(content))
    files = [ImageFile("a", link=LONG), source, ImageFile("b/c", symlink="d"), ImageFile("e", data=b"text")]
    files += [ImageFile("f", DIRECTORY), ImageFile("g")]
    written = archive_of(*files)
    assert archive_of(*reversed(files)) == written
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        members = archive.getmembers()
        assert {member.mtime for member in members} == {TIME}
        names = {member.name: member for member in members}
        assert [name for name in names if not names[name].isdir()] == ["b/c", "e", "g", LONG, "a"]
        assert names["f"].isdir()
        assert names["v1/long"].isdir()
        assert names["b/c"].linkname == "d"
        for name, data in ((LONG, content), ("a", content), ("e", b"text"), ("g", b"")):
            stream = archive.extractfile(name)
            assert stream is not None
            assert stream.read() == data
    assert len(written) % tarfile.RECORDSIZE == 0
    again = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(written)) as archive,
        tarfile.open(fileobj=again, mode="w", format=tarfile.GNU_FORMAT) as copy,
    ):
        for member in archive.getmembers():
            copy.addfile(member, archive.extractfile(member) if member.isreg() else None)
    assert again.getvalue() == written


@pytest.mark.parametrize("content", [b"changed!", b"short"])
def test_a_changed_source_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "source").write_bytes(content)
    with pytest.raises(StoreError):
        archive_of(ImageFile("a", source=f"{tmp_path}/source", digest=Digest.of(b"original")))
