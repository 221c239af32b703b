"""Values and pure functions on them. No input, no output."""
