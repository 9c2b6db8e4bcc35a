"""Maps of a trained network from one forward pass (:mod:`divsal_bench.maps.evidence`), and tests of what they say.

Knows networks and the definitions of agreement; no data set, run or picture. Importing it loads no torch.
"""
