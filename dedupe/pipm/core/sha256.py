"""sha256 without hashlib, whose import of OpenSSL takes as long as a third of an interpreter start.

It is for short commands that hash little; `random` of the standard library imports it likewise.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's takes its import, which is as long

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256  # Python 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:
            from hashlib import sha256

__all__ = ["sha256"]
