"""The output of `pipm rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.cli.environments_output import each
from pipm.cli.format_text import counted, path_text
from pipm.cli.terminal_progress import progress_for
from pipm.core.plan.gc_plan import Limits
from pipm.core.size_text import size_text
from pipm.env.kernels import kernels_of
from pipm.gc.collect import preview_collection
from pipm.inspect.exclusive_bytes import exclusive_bytes
from pipm.release.remove_environment import removable_environment, remove_environment
from pipm.store.layout import open_store
from pipm.store.paths import environment_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.cli.output import Output


def remove_environments(
    output: Output, store: str, names: Sequence[str], *, ask: Callable[[str], bool] | None, dry_run: bool
) -> int:
    """Delete each folder that contains an environment and nothing else, after the question *ask*."""
    found = {}

    def check(path: str) -> None:
        found[path] = removable_environment(store, path)

    code = each(output, dict.fromkeys(map(environment_path, names)), check)
    sizes = {path: exclusive_bytes(store, environment.path) for path, environment in found.items()}
    for path in found:
        output.result(f"{path_text(path)}  frees {size_text(sizes[path])}")
    print_kernels(output, kernels_of(environment.path for environment in found.values()))
    total = size_text(sum(sizes.values()))
    if not found or dry_run:
        if dry_run:
            output.note("note", "nothing was deleted due to --dry-run")
        return code
    if ask is not None and not ask(f"Delete {counted(len(found), 'environment')}, {total}?"):
        output.result("Nothing deleted")
        return code
    done: list[str] = []

    def delete(path: str) -> None:
        remove_environment(store, found[path], progress_for(output))
        done.append(path)

    code = max(each(output, found, delete), code)
    if output.json:
        rows = [{"path": found[path].path, "freed": sizes[path]} for path in done]
        output.document("rm", {"environments": rows})
    freed = size_text(sum(sizes[path] for path in done))
    output.result(f"Deleted {counted(len(done), 'environment')}, freed {freed}")
    opened = open_store(store, create=False)
    rest = 0 if opened is None else preview_collection(opened, Limits(keep=0)).bytes_freed
    if rest:
        output.note("hint", f"no environment needs {size_text(rest)} of the store: pipm gc --keep 0")
    return code


def print_kernels(output: Output, kernels: Sequence[str]) -> None:
    """Print which Jupyter *kernels* lose their environment; they are another program's files."""
    if kernels:
        output.note("note", f"Jupyter kernels of deleted environments: {', '.join(map(path_text, kernels))}")
        output.note("hint", f"jupyter kernelspec remove {' '.join(map(path_text, kernels))}")
