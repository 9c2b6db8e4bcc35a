"""A grid of runs: what is missing, the unit of work, and the processes that do it."""
