"""Statistics of paired, clustered results.

Knows arrays, and nothing of runs or tables.
"""
