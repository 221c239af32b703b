"""`pipm sync`: make an environment exactly what a lock file says."""
