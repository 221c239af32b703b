"""Entries travel between stores: push and pull through an object store, a web server or a directory."""
