"""The wrapper of an environment's pip: installing it and taking it away."""
