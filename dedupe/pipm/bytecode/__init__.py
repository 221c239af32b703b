"""Compiled modules: checked, compiled once for each interpreter, and shared."""
