"""Data: the canonical data set, preparing and checking it, finding it, and loading it as arrays."""
