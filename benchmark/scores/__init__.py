"""The numbers of one run: conditions, metrics, agreement with people, and their schema. No torch."""
