"""pipm: one store for the files of all Python environments."""

__version__ = "0.1.0"
