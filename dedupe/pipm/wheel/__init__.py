"""Wheels: letting archives into the store, and the bytecode of their sources."""
