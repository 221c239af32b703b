"""Writing an image: squashfs and erofs by their own tools, else a directory."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from pipm.errors import FileSystemError, UsageError
from pipm.fs.image_files import write_tar, write_tree
from pipm.fs.own_files import move_durably, remove_file
from pipm.fs.removal import remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.fs.image_files import ImageFile

SQUASHFS, EROFS = ".squashfs", ".erofs"
_LEVEL = ("-Xcompression-level", "9")
"""With 15, the default, an image is 5 % smaller and takes eight times as long."""
_NO_UUID = "00000000-0000-0000-0000-000000000000"
_TOOLS = {SQUASHFS: ("mksquashfs", "squashfs-tools"), EROFS: ("mkfs.erofs", "erofs-utils")}


def check_output(path: str) -> None:
    """Raise UsageError if no image can be written to *path*."""
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already", hint="remove it, or name another file by -o")
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise UsageError(f"There is no directory for {path}", hint="make it first")
    tool, package = _TOOLS.get(_kind(path), ("", ""))
    if tool and shutil.which(tool) is None:
        raise UsageError(f"{tool} is not installed, but makes such images", hint=f"apt install {package}")


def write_image(path: str, files: Iterable[ImageFile], time: int, scratch: str) -> None:
    """Write *files* to *path*, by its ending; *scratch* is a directory for what is needed meanwhile.

    The same files and *time* give the same bytes.
    """
    temporary = f"{path}.{os.urandom(4).hex()}"
    try:
        match _kind(path):
            case ".squashfs":
                _squashfs(temporary, files, time)
            case ".erofs":
                tree = f"{scratch}/erofs"
                write_tree(tree, files, time)
                options = [f"-T{time}", f"-U{_NO_UUID}", "--force-uid=0", "--force-gid=0", "-zlz4hc"]
                _run(["mkfs.erofs", *options, temporary, tree])
            case _:
                write_tree(temporary, files, time)
        move_durably(temporary, path)
    except BaseException:
        if os.path.isdir(temporary):
            remove_folder(temporary)
        elif os.path.exists(temporary):
            remove_file(temporary)
        raise


def mount_command(path: str, mount_point: str) -> str:
    """Return the command that mounts the image at *path*."""
    kind = _kind(path)
    if kind not in (SQUASHFS, EROFS):
        raise UsageError(f"{path} is not a mounted image", hint=f"its name ends with {SQUASHFS} or {EROFS}")
    import shlex  # noqa: PLC0415

    words = shlex.join([path, mount_point])
    return f"mount -t {kind[1:]} -o loop,ro {words}" if os.geteuid() == 0 else f"{kind[1:-2]}fuse {words}"


def _kind(path: str) -> str:
    return os.path.splitext(path)[1]


def _squashfs(path: str, files: Iterable[ImageFile], time: int) -> None:
    fixed = ["-mkfs-time", str(time), "-all-time", str(time), "-root-mode", "755"]
    quiet = ["-quiet", "-no-progress", "-no-xattrs"]
    # Not sqfstar, which is the same program: version 4.5.1 of it refuses -Xcompression-level.
    command = ["mksquashfs", "-", path, "-tar", *quiet, "-comp", "zstd", *_LEVEL, *fixed]
    environ = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            write_tar(process.stdin, files, time)
            process.stdin.close()
        except BrokenPipeError:
            pass  # the tool itself printed the reason
        except BaseException:
            process.kill()
            raise
        _check(command, process.wait(), process.stderr.read())


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    _check(command, done.returncode, done.stderr or done.stdout)


def _check(command: list[str], code: int, output: bytes) -> None:
    if code:
        lines = output.decode("utf-8", "replace").strip().splitlines()
        raise FileSystemError(
            f"{command[0]} failed: {lines[-1] if lines else code}",
            hint="check that there is room for the image",
        )
