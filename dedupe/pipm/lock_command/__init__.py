"""`pipm lock`: let uv or pip resolve, and write what they found as a lock file."""
