"""Networks: how they are built, where their weights come from, how they score, and the device they run on.

Knows protocols, runs and the Hub; no data set.
"""
