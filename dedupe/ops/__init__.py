"""Use cases, one file a command: gather facts, plan, apply, report."""
