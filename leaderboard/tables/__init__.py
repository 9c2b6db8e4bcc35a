"""Boards and comparisons as objects, the sentences about them, and their text formats."""
