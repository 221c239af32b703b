"""Hooks of other programs that call pipm."""
