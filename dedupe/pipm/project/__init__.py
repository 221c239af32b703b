"""Building projects of this disk by their build backends (PEP 517, PEP 660)."""
