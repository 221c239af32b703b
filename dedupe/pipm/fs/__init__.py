"""Files and syscalls: knows nothing of Python packages."""
