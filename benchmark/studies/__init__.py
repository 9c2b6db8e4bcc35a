"""Three published findings, looked for here: each module turns one network into numbers, for the table of a study.

Knows data, networks, training and maps, and one run at a time; makes no runs and compares no seeds.
"""
