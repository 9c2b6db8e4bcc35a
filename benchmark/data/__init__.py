"""Data: prepared from what owners deliver, checked, found on this machine or the Hub, decoded to arrays; their terms.

Knows the Hub, the bounds of run records, how conditions are named, files and the contracts; no network and no plugin.
"""
