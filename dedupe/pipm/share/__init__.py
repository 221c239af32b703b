"""The engine of adopt and release: files of an environment share the store's files, or get own copies."""
