"""System calls on files. This room knows nothing of Python packages."""
