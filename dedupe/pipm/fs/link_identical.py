"""Small files with the same content in many folders: hard links to one inode where links work."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.fs.staging import Staging

_READ_ONLY, _FILE = 0o444, 0o666


class IdenticalFiles:
    """Makes small files; the first of each text has a temporary name in *area*, and the others link to it."""

    def __init__(self, area: Staging) -> None:
        self._area = area
        self._known: dict[bytes, str] = {}

    def put(self, folder: int, name: str, text: bytes) -> bool:
        """Link a file with *text* as *name* in the open *folder*; return False if links do not work."""
        area = self._area
        try:
            if text not in self._known:
                self._known[text] = self._written(text)
            try:
                os.link(self._known[text], name, src_dir_fd=area.directory, dst_dir_fd=folder)
            except FileExistsError:
                area.link_over(area.directory, self._known[text], folder, name)
        except OSError:
            return False  # the file system has no hard links, or the inode has too many
        return True

    def _written(self, text: bytes) -> str:
        # An edit in place would change all of them, so they are read-only; nobody edits an empty file.
        name = self._area.name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(name, flags, _READ_ONLY if text else _FILE, dir_fd=self._area.directory)
        with open(file, "wb") as stream:
            stream.write(text)
        return name
