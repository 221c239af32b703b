"""pip in an environment goes through the store."""
