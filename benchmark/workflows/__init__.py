"""What Python users call: one function for each thing that a command does, with typed arguments and results.

Nothing here prints: what must be heard goes through ``say``, progress through callbacks. Knows engine and leaderboard.
"""
