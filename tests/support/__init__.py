"""What the acceptance tests and the campaigns in scripts/ share."""
