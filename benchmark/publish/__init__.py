"""What leaves the machine: model cards, the files of a published run, the pictures that may be shown.

Knows one run, its data and its network; what statistics say is handed in as text.
"""
