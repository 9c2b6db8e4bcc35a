"""From a trained network to predictions, and from published weights back to a published row."""
