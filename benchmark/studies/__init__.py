"""Three published findings, looked for here: each module turns one network into numbers, for the table of a study.

Nothing here trains a method, compares seeds or prints: the command line does.
"""
