"""What ``explain`` shows: image files and whole data sets through the maps and measures of ``divsal_bench.explain``.

==============  ========================================================================================
inputs          image files with their classes and human maps
single          one image: decision, maps, regions that add up to the margin, agreement
picture         its figure
overview        a data set: mean maps, the cells that decide, disagreements, errors
report          its HTML page
==============  ========================================================================================
"""
