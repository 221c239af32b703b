"""The disk usage of compressed files, and whether a file system compresses.

On btrfs, st_blocks and FIEMAP count uncompressed bytes. The size on the disk is in the extent items of the
file (BTRFS_IOC_TREE_SEARCH_V2, linux/btrfs.h, linux/btrfs_tree.h), which only root may read.
"""

from __future__ import annotations

import fcntl
import os
import struct
from functools import cache

from pipm.fs.free_space import mount_of
from pipm.fs.opened import opened_folder

_TREE_SEARCH_V2 = 0xC0709411
_GETFLAGS = 0x80086601
_COMPRESS = 0x00000004
"""FS_COMPR_FL: files made in this folder are compressed (`chattr +c`, `btrfs property set`)."""
_EXTENT_DATA = 108
_LAST = (1 << 64) - 1
_KEY = struct.Struct("=QQQQQQQIIIIQQQQ")
_HEAD = struct.Struct("=QQQII")
_ITEM = struct.Struct("=QQBBHBQQQQ")
_INLINE = 0
_BUFFER = 64 << 10
_ROOM = struct.Struct("=Q")


def compressed_sizes(file: int) -> dict[int, int]:
    """Return the bytes on disk of each extent of the open *file*, by its place; {} if unknown."""
    found: dict[int, int] = {}
    inode, offset = os.fstat(file).st_ino, 0
    while True:
        buffer = bytearray(_KEY.size + _ROOM.size + _BUFFER)
        # Tree 0 is the subvolume of *file*.
        key = (0, inode, inode, offset, _LAST, 0, _LAST, _EXTENT_DATA, _EXTENT_DATA, 1 << 31, 0, 0, 0, 0, 0)
        _KEY.pack_into(buffer, 0, *key)
        _ROOM.pack_into(buffer, _KEY.size, _BUFFER)
        try:
            fcntl.ioctl(file, _TREE_SEARCH_V2, buffer)
        except OSError:  # not root, or not btrfs
            return found
        count = _KEY.unpack_from(buffer)[9]
        if not count:
            return found
        position = _KEY.size + _ROOM.size
        for _ in range(count):
            _, _, offset, _, length = _HEAD.unpack_from(buffer, position)
            position += _HEAD.size
            if length >= _ITEM.size:  # an inline extent is shorter: its bytes are in the tree
                kind, place, size = _ITEM.unpack_from(buffer, position)[5:8]
                if kind != _INLINE and place:  # else a hole
                    found[place] = size
            position += length
        offset += 1


@cache
def compresses(path: str) -> bool:
    """Return whether mount options or a flag of the folder *path* let new files in it be compressed."""
    if any(option.startswith("compress") for option in mount_of(path).options):
        return True
    try:
        with opened_folder(path) as folder:
            answer = bytearray(8)
            fcntl.ioctl(folder, _GETFLAGS, answer)
            return bool(int.from_bytes(answer[:4], "little") & _COMPRESS)
    except OSError:
        return False
