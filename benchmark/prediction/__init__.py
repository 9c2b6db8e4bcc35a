"""From anybody's images and a trained network to scores, labels and overlays.

Knows networks, runs, the Hub, and how data decodes images; no data set.
"""
