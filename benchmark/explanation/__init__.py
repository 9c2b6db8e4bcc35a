"""What ``explain`` shows: images and whole data sets through the maps and tests of :mod:`divsal_bench.maps`.

Knows data, networks, maps, predictions and pictures; not several runs, and not which files are written.
"""
