"""What Python users call: one function for each thing that a command does, with typed arguments and results.

Knows engine and leaderboard. Nothing prints: what must be heard goes through ``say``, progress through callbacks.
"""
