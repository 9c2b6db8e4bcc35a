"""Audits of trained networks measured, one and many in parallel, as records kept beside their runs.

Knows data, networks, maps and runs; averages over seeds and tables of them are the leaderboard's.
"""
