"""`pipm lock`: writing a lock file with uv or pip."""
