"""Fetching wheels whose sha256 is in a lock; pip fetches all others."""
