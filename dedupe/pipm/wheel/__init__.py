"""Wheel archives: fetching, checking and unpacking them."""
