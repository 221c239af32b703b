"""`pipm run` and `pipm.activate`: running programs with the distributions of a lock."""
