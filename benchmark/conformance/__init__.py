"""What every plugin must hold, said once: ``divsal-bench check`` and the tests run the same functions.

Knows the engine up to the grid, and runs plugins with it; no result of anybody.
"""
