"""The numbers of one run: conditions, metrics, agreement with people, and their schema.

Knows arrays and tables of predictions; no file and no torch.
"""
