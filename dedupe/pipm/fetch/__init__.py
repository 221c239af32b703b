"""Fetching wheels that a lock names by their sha256; all else is left to pip."""
