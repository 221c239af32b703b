"""The store on disk: plain files without a database."""
