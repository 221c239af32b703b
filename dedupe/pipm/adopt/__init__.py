"""`pipm adopt`: let existing environments share their files with the store."""
