"""list, df, why, report and doctor: they only read."""
