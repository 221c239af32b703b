"""`pipm gc`: find what nothing needs, and remove it."""
