"""The board as one web page: self-contained, no request to anywhere, and nothing from outside run or trusted.

Knows tables, audits and galleries as they were computed, and draws them; no number is computed here.
"""
