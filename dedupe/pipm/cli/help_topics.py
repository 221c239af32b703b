"""The texts of `pipm help TOPIC`."""

from __future__ import annotations

from pipm.core.environment_variables import VARIABLES
from pipm.errors import UsageError

_OURS = "\n".join(f"  {name:<20} {meaning}" for name, meaning in VARIABLES.items())

TOPICS = {
    "environment": f"""\
Variables of the environment. An option on the command line wins over each of them.

{_OURS}
  XDG_CACHE_HOME       measured figures and small caches lie in $XDG_CACHE_HOME/pipm; deleting them is safe
  NO_COLOR             set: no colours; FORCE_COLOR: colours without a terminal, too

pip's own variables (PIP_INDEX_URL and all others) count wherever pip is run.""",
    "exit-codes": """\
Exit codes.

    0   done; also when there was nothing to do
    1   failed, or damage was found (verify, doctor)
    2   wrong usage
    3   done in part; what was not done is listed with its reason
  130   interrupted; nothing is lost, the same command goes on

`pipm run`, `pipm pip` and `pipm install` end with the code of what they ran. With --json an error is one
object on stderr: {"error": {"kind", "message", "hint", "code"}}.""",
    "link-modes": """\
How a file of the store gets into an environment. `auto` takes the first that works:

  reflink    its own inode, the same blocks (XFS, btrfs, bcachefs; APFS). An edit stays private.
  hardlink   the same inode. Cheapest; modules become read-only, for an edit would be everybody's edit:
             `pipm release --dist NAME` before you patch a package. An editor that is forced (`vim :w!`,
             VS Code's overwrite) and `rsync --inplace` write through all the same: the next `pipm adopt` or
             `pipm gc` says so, `pipm verify --repair` mends it.
  finder     no file at all: modules are imported from the store. On another file system than the store's,
             and where inodes are few.

Only when asked for by --link-mode or PIPM_LINK_MODE:

  symlink    a link a file; works across file systems, needs the store to stay where it is
  copy       shares nothing (sync alone)

A mode that is asked for is used, or an error says why it cannot be; never a silent copy.
`pipm doctor` tries them all on each of your file systems.""",
    "store": """\
The store holds every wheel's files once: plain files, no daemon, no database.

  v1/objects     each content once, named by its sha256, read-only
  v1/wheels      NAME/VERSION/TAG-ID: the tree of a wheel, and what is known of it
  v1/by-wheel    which entry an archive's hash stands for: a lock finds it without a download
  v1/bytecode    compiled sources, once for each interpreter
  v1/roots       one small file an environment: what it uses

Links need store and environment on one file system: `pipm --store /mnt/data/.pipm-store adopt …` makes
one there. `pipm df` says what it takes, `pipm why NAME` what keeps a distribution, `pipm gc` removes what
nothing needs, `pipm verify` finds what changed. Deleting the whole store is safe where environments have
links (hardlink, reflink); with the finder or symlinks: `pipm release` them first. Its commands:
`pipm store -h`.""",
}


def topic(name: str) -> str:
    """Return the text about *name*; UsageError when there is none."""
    text = TOPICS.get(name)
    if text is None:
        raise UsageError(f"No help about {name!r}", hint=f"topics: {', '.join(TOPICS)}; commands: pipm -h")
    return text
