"""The store stays small and sound: gc, verify."""
