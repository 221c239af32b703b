"""The engine of adopt and release: sharing an environment's files with the store, or copying them back."""
