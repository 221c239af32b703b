"""A timer of the system that adopts what came since."""
