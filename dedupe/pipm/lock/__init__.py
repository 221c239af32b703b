"""Lock files: one reader a format, all giving pins."""
