"""`pipm venv`, and wrapping an environment's pip."""
