"""Pictures: one palette, one layout of text, for every figure and page.

Knows arrays and texts, and nothing of what they show.
"""
