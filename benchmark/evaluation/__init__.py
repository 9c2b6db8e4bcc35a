"""From a trained network to the predictions and numbers of its run, and whether a claim's numbers are the same.

Knows networks, data, runs and scores; no accepted result and no Hub: whoever has those hands in numbers and margins.
"""
