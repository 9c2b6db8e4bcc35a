"""Training: the loop, its random streams and augmentation."""
