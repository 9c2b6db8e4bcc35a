"""Boards and comparisons as objects, the sentences about them, and their text formats.

Knows sheets and statistics; what is accepted is none of its business.
"""
