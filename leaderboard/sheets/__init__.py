"""Runs and claims as entries with scores: what every table is made of.

Knows runs, scores and statistics.
"""
