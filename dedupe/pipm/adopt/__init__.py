"""`pipm adopt`: make existing environments share their files with the store."""
