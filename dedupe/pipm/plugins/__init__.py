"""Plug-ins of other tools: after a tool installed distributions, pipm adopts the environment."""
