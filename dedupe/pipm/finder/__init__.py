"""The finder: an import hook that loads modules from the store instead of the environment."""
