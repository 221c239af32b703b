"""Files that are copied into environments: the import hook. Standard library only."""
