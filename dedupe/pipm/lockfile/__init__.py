"""Lock files: one reader for each format; all of them return pins."""
