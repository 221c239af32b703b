"""Workers, statistics, locks on environments, and values that operations share."""
