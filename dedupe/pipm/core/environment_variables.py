"""The environment variables of pipm, for its help and for `pipm doctor`."""

from __future__ import annotations

VARIABLES = {
    "PIPM_STORE": "where the store is; else $XDG_DATA_HOME/pipm, else ~/.local/share/pipm",
    "PIPM_STORE_LAYERS": "read-only stores, separated by colons, looked through before the index is asked",
    "PIPM_LINK_MODE": "what --link-mode is where it is not given (pipm help link-modes)",
    "PIPM_EXCLUDE": "globs of folders, separated by colons, that --all, list and report pass over",
    "PIPM_LOCK_TIMEOUT": "seconds to wait for other processes; 300 if unset",
    "PIPM_NO_PROGRESS": "set: no progress bar",
    "PIPM_PIP": "off: an environment's wrapped pip is plain pip",
    "PIPM_TRUSTED_USERS": "numbers of users, separated by commas, whose environments may be run",
    "PIPM_REMOTE": "where sync looks for what the store lacks, before the index: as for pipm pull DEST",
    "PIPM_SIGNING_KEY": "what `pipm push` signs with: a file, or the key itself; else pipm key new made it",
    "PIPM_TRUSTED_KEYS": "whose signatures are believed: public keys, separated by commas (pipm key trust)",
    "PIPM_PLUGINS": "tools, separated by commas, that adopt what they installed (pipm help plugins)",
    "PIPM_STALE": "when a finder environment's lock changed: warn (the default), ignore or error",
}
"""The meaning of each variable."""
