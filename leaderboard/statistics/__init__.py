"""Statistics of paired, clustered results: they know arrays, and nothing of runs or tables."""
