"""Simulations that show what the statistics' error rates and coverage are.

Knows statistics, and no result of anybody.
"""
