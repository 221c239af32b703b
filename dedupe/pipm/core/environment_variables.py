"""The environment variables of pipm, for its help and for `pipm doctor`."""

from __future__ import annotations

VARIABLES = {
    "PIPM_STORE": "where the store is; else $XDG_DATA_HOME/pipm, else ~/.local/share/pipm",
    "PIPM_STORE_LAYERS": "read-only stores, separated by colons, that are searched before the index",
    "PIPM_LINK_MODE": "the default of --link-mode (pipm help link-modes)",
    "PIPM_EXCLUDE": "globs of folders, separated by colons, that --all, list and report pass over",
    "PIPM_LOCK_TIMEOUT": "seconds to wait for other processes; 300 if unset",
    "PIPM_NO_PROGRESS": "set: no progress bar",
    "PIPM_PIP": "off: an environment's wrapped pip is plain pip",
    "PIPM_TRUSTED_USERS": "numbers of users, separated by commas, whose environments may be run",
    "PIPM_REMOTE": "the remote that sync searches before the index, as for pipm pull DEST",
    "PIPM_SIGNING_KEY": "what `pipm push` signs with: a file, or the key itself; else pipm key new made it",
    "PIPM_TRUSTED_KEYS": "trusted public keys, separated by commas (pipm key trust)",
    "PIPM_PLUGINS": "tools, separated by commas, that adopt after they installed (pipm help plugins)",
    "PIPM_STALE": "when a finder environment's lock changed: warn (the default), ignore or error",
}
"""The meaning of each variable."""
