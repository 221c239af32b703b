"""The work and the output of `pipm store pack`, `pipm store mount` and `pipm layers`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from pipm.cli.format_text import counted, path_text, seconds_text
from pipm.cli.remote_output import chosen_entries, opened_store
from pipm.cli.terminal_progress import progress_for
from pipm.core.size_text import size_text
from pipm.env.ask_target import ask_target
from pipm.env.base_interpreter import find_interpreter
from pipm.env.interpreter import ask_interpreter
from pipm.errors import NotFoundError, UsageError
from pipm.pack.environment_image import distribution_images, environment_base, environment_scheme, merged
from pipm.pack.oci_layers import grouped, write_layers
from pipm.pack.store_image import store_image
from pipm.pack.write_image import check_output, mount_command, write_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.cli.output import Output
    from pipm.cli.remote_output import RemoteArguments
    from pipm.core.scheme import Scheme
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store

_EPOCH = 315532800
"""1980, the first year of zip archives: the time of all files of an image unless SOURCE_DATE_EPOCH is set."""


class _Chosen(NamedTuple):
    """The entries for an image, and their interpreter."""

    entries: list[str]
    interpreter: Interpreter | None
    version: str
    home: str


def pack(output: Output, store_path: str, arguments: RemoteArguments, path: str, prefix: str | None) -> int:
    """Write an image and print the result."""
    started = time.monotonic()
    check_output(path)
    store = opened_store(store_path)
    progress, epoch = progress_for(output), _epoch()
    with store.writing(), store.run() as (_, run_path):
        chosen = _chosen(store, arguments)
        try:
            if prefix is None:
                files = store_image(store, chosen.entries, chosen.interpreter, run_path, epoch, progress)
            else:
                scheme = environment_scheme(chosen.version, _checked_prefix(prefix))
                images = distribution_images(
                    store, chosen.entries, scheme, chosen.interpreter, run_path, epoch, progress
                )
                files = merged([environment_base(chosen.version, chosen.home), *images.values()])
            write_image(path, files, epoch, run_path)
        finally:
            progress.done()
    size = os.stat(path).st_size if os.path.isfile(path) else None
    if output.json:
        document = {"image": path, "distributions": len(chosen.entries), "files": len(files), "size": size}
        output.document("store pack", document | {"seconds": round(time.monotonic() - started, 3)})
    what = f"{counted(len(chosen.entries), 'distribution')} in {path_text(path)}"
    shown = "" if size is None else f": {size_text(size)}"
    output.result(f"Packed {what}{shown} {seconds_text(time.monotonic() - started)}")
    return 0


def layers(
    output: Output,
    store_path: str,
    arguments: RemoteArguments,
    path: str,
    *,
    prefix: str,
    home: str,
    most: int,
) -> int:
    """Write an OCI image layout and print the result."""
    started = time.monotonic()
    check_output(path)
    if not 1 <= most <= 125:
        raise UsageError(f"--max-layers {most}", hint="a number from 1 to 125; engines allow 127")
    store = opened_store(store_path)
    progress, epoch = progress_for(output), _epoch()
    with store.writing(), store.run() as (_, run_path):
        chosen = _chosen(store, arguments)
        scheme: Scheme = environment_scheme(chosen.version, _checked_prefix(prefix))
        try:
            images = distribution_images(
                store, chosen.entries, scheme, chosen.interpreter, run_path, epoch, progress
            )
            merged(images.values())
            sizes = [
                (name, sum(os.stat(f.source).st_size for f in files if f.source))
                for name, files in images.items()
            ]
            parts = {"environment": environment_base(chosen.version, home)}
            for names in grouped(sizes, most):
                parts[_title(names)] = merged([images[name] for name in names])
            blobs = write_layers(path, parts, prefix, epoch)
        finally:
            progress.done()
    total = sum(blob.size for _, blob in blobs)
    if output.json:
        rows = [{"title": title, "digest": f"sha256:{b.digest}", "size": b.size} for title, b in blobs]
        document = {"layout": path, "distributions": len(chosen.entries), "layers": rows}
        output.document("layers", document | {"seconds": round(time.monotonic() - started, 3)})
    what = f"{counted(len(chosen.entries), 'distribution')} in {counted(len(blobs), 'layer')}"
    took = seconds_text(time.monotonic() - started)
    output.result(f"Wrote {what} to {path_text(path)}: {size_text(total)} {took}")
    return 0


def show_mount(output: Output, path: str, mount_point: str) -> int:
    """Print the command that mounts an image."""
    command = mount_command(path, mount_point)
    if output.json:
        output.document("store mount", {"command": command})
    else:
        output.data(command)
    return 0


def _chosen(store: Store, arguments: RemoteArguments) -> _Chosen:
    entries, left = chosen_entries(store, arguments)
    if left:
        names = ", ".join(name for name, _ in left[:5])
        raise NotFoundError(
            f"{counted(len(left), 'distribution')} of the lock are not in the store: {names}",
            hint="pipm sync or pipm pull first",
        )
    python = arguments.interpreter(store.path)
    target = ask_target(python)
    if target.markers.get("implementation_name") != "cpython":
        raise UsageError("Images work only with CPython", hint="name a CPython by --python")
    version = target.markers["python_version"]
    base = os.path.realpath(find_interpreter(python).path)
    return _Chosen(sorted(entries), ask_interpreter(python), version, os.path.dirname(base))


def _title(names: Sequence[str]) -> str:
    shown = " ".join("-".join(name.split("/")[:2]) for name in names)
    return shown if len(names) == 1 else f"{counted(len(names), 'distribution')}: {shown}"


def _checked_prefix(prefix: str) -> str:
    if not os.path.isabs(prefix) or os.path.normpath(prefix) != prefix or prefix == "/":
        raise UsageError(f"--prefix {prefix}", hint="an absolute path, such as /opt/venv")
    return prefix


def _epoch() -> int:
    text = os.environ.get("SOURCE_DATE_EPOCH", str(_EPOCH))
    if not text.isdecimal() or len(text) > 10 or int(text) >= 1 << 32:
        raise UsageError(f"SOURCE_DATE_EPOCH is {text!r}", hint="set it to seconds since 1970, or unset it")
    return int(text)
