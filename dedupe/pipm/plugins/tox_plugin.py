"""tox's plug-in (entry point ``tox``).

The hooks are optional, because an older tox fails at a hook that it does not know.
"""

from __future__ import annotations

from pluggy import HookimplMarker

from pipm.plugins.adopt_after import adopt_after

TYPE_CHECKING = False

if TYPE_CHECKING:
    from tox.tox_env.api import ToxEnv

_hook = HookimplMarker("tox")
_changed: set[str] = set()
"""The environments in which tox has installed something since they were adopted."""


@_hook(optionalhook=True)
def tox_on_install(tox_env: ToxEnv, arguments: object, section: str, of_type: str) -> None:  # noqa: ARG001 - tox's
    """Record that tox installs in *tox_env*."""
    _changed.add(str(tox_env.env_dir))


@_hook(optionalhook=True)
def tox_env_teardown(tox_env: ToxEnv) -> None:
    """Adopt *tox_env* after its commands, also if they failed."""
    path = str(tox_env.env_dir)
    if path in _changed:
        _changed.remove(path)
        adopt_after("tox", lambda: path)
