"""Where the bytes are and whether all works: list, df, why, report, doctor. Reads only."""
