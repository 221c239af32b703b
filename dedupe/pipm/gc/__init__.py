"""`pipm gc`: find and remove what no environment needs."""
