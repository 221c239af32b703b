"""Environments out of locks, wheels and pip: sync, lock, venv, store add, the wrapper of pip."""
