"""Files of packs come by few requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pipm.core.digest import Digest
from pipm.fs.share_file import NewFile
from pipm.remote.extra_libraries import compress
from pipm.remote.pack_writer import pack_name
from pipm.remote.read_frames import FileDownload, WantedFile
from pipm.remote.remote_values import Frame, RemoteFile

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = "b" * 64, "a" * 64
"""Two packs; a distribution has its end in the second one, whose name sorts before that of the first."""


class Packs:
    """A transport with packs in memory."""

    def __init__(self) -> None:
        self.packs = {FIRST: b"", SECOND: b""}
        self.requests = 0

    def add(self, pack: str, data: bytes) -> Frame:
        frame = compress(data)
        self.packs[pack] += frame
        return Frame(pack, len(self.packs[pack]) - len(frame), len(frame), len(data))

    def read_range(self, name: str, start: int, length: int) -> bytes:
        self.requests += 1
        (data,) = (data for pack, data in self.packs.items() if pack_name(pack) == name)
        return data[start : start + length]


def test_small_distributions_share_requests(tmp_path: Path) -> None:
    transport: Any = Packs()
    folder = os.open(tmp_path, os.O_RDONLY)
    with FileDownload(transport, lambda _files, _size: None) as download:
        for number in range(10):
            wanted = []
            for part, pack in enumerate((FIRST, SECOND) if number == 0 else (SECOND,)):
                name, data = f"{number}-{part}", os.urandom(50)
                file = RemoteFile(name, Digest.of(data), len(data), 0, part * 50)
                frame = transport.add(pack, data)
                wanted.append(WantedFile(file, (frame,), 0, NewFile(folder, name), name, 0o444, 0))
            download.add(wanted)
        download.finish()
    os.close(folder)
    assert len(os.listdir(tmp_path)) == 11
    assert transport.requests == 2
