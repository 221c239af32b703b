"""`pipm verify`: check, rebuild and repair the store."""
