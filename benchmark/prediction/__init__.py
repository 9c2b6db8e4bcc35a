"""From anybody's images and a trained network to scores, labels and overlays."""
