"""The accepted results: made from runs, read, scored again, proven by others, kept as a board; and what a change does.

Knows claims, tables and runs; data and weights are handed in by whoever can open them.
"""
