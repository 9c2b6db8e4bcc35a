"""Audits over seeds as tables: what each method's audits say, in blocks of their own or as columns beside the board.

An audit of one run is measured in :mod:`divsal_bench.auditing` and kept beside it in the form of
:mod:`divsal_bench.runs.audit_record`. Here such records are read, averaged and written; nothing is measured or tested.
"""
