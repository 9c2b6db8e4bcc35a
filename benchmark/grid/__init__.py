"""A grid of runs: what is missing, the unit of work, and the processes that do it.

Knows data, networks, training, evaluation and runs; no statistics.
"""
