"""`pipm sync`: make an environment contain exactly the distributions in a lock file."""
