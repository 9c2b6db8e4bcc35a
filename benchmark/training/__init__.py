"""Training: the loop, its random streams and augmentation.

Knows networks, protocols and the contracts; data comes as tensors.
"""
