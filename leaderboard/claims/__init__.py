"""Claims: what a stranger submits, and whether it is consistent with itself."""
