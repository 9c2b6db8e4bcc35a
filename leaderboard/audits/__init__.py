"""Audits over seeds as tables: in blocks of their own, or as columns beside the board.

Knows the records of audits, sheets and tables; nothing is measured or tested here.
"""
