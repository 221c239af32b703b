"""Images of the store's entries: a file system or a directory, and layers for containers."""
