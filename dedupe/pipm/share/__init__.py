"""The engine of adopt and release: files of an environment become files of the store, and back."""
