"""Simulations that show what the statistics' error rates and coverage are."""
