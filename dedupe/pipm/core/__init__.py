"""Values: what things are. No input, no output."""
