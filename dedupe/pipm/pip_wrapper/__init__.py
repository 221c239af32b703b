"""Wrapping an environment's pip."""
