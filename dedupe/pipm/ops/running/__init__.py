"""Programs without an environment of one's own (design D15): run, activate."""
