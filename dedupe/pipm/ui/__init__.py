"""Words: the only room that writes to the terminal."""
