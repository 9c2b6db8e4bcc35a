"""What ``explain`` shows: image files and whole data sets through the maps and measures of ``divsal_bench.maps``.

==============  ========================================================================================
inputs          image files with their classes and human maps
single          one image: decision, maps, regions that add up to the margin, agreement
picture         its figure
as_json         its numbers
samples         a data set's table, a row an image
overview        mean maps, the cells that decide, disagreements, errors
report          its HTML page
==============  ========================================================================================
"""
