"""Plug-ins of other tools, which let pipm adopt what those tools installed."""
