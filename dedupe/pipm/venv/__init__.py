"""`pipm venv`, and the pip of environments that goes through the store."""
