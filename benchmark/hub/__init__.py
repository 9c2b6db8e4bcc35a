"""The Hugging Face Hub, which is a stranger: ids, a guarded client, files by checksum, branches, links left in runs.

Knows runs, files and the contracts. What is pushed, and whether it may be, is decided elsewhere.
"""
