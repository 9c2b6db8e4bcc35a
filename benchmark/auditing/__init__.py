"""Audits measured: what the maps of one trained network show, and many networks in parallel.

Each gives a :class:`divsal_bench.runs.audit_record.Audit`, kept beside its run; tables of them over seeds are made by
:mod:`divsal_bench.leaderboard.audits`.
"""
