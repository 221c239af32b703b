"""The store on disk: plain files that every other tool can read."""
