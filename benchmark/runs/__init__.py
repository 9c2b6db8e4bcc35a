"""A run directory: its record, how it is written and how it is read back.

Knows files and scores; no torch.
"""
