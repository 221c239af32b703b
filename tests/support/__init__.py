"""Helpers of the tests and of the campaigns in scripts/."""
