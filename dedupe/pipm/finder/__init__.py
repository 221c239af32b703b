"""Imports straight out of the store: the hook, its table, and how they get into an environment."""
