"""Audits of trained networks: one run, and many in parallel."""
