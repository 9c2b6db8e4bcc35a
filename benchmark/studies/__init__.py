"""Three published findings, looked for here: each module turns one network into numbers, for the table of a study.

It knows data, networks, training and maps, and one run at a time; nothing here makes runs, compares seeds or prints:
``study`` of :mod:`divsal_bench.workflows.studying` does.

============  ==========================================================================================
difference    does the difference map say more than the true-class CAM?
imbalance     is the majority class decided by the bias?
case          does CASE tell classes apart, and what is left of it with two?
inputs        one split of a run's data as a network takes it
own_networks  networks that a study trains for itself
study_table   rows, metrics, and one number a seed
============  ==========================================================================================
"""
