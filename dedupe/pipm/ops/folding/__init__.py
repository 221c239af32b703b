"""Modules leave an environment and are imported from the store (design D8), and come back."""
