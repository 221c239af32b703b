"""Environments share their files with the store in place, and get them back: adopt, release."""
