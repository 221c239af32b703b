"""Imports straight out of the store: enabling and disabling the finder in an environment."""
