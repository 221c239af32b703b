"""Decisions: facts in, plan out. No input, no output."""
