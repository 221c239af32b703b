"""The wrapper of an environment's pip: pip takes files from the store."""
