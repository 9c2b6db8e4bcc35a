"""Training methods: one small file each, found by name when the package is searched."""
