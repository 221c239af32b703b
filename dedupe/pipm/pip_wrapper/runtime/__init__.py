"""Files that are copied into environments: the hook in pip. Standard library only."""
