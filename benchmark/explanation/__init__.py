"""What the command ``explain`` shows: images and data sets through the maps and tests of :mod:`divsal_bench.maps`.

It knows data, networks, maps, predictions and pictures; nothing here prints, chooses files to write, or knows of
several runs. ``explain`` and ``explain_set`` of :mod:`divsal_bench.workflows.explaining` put it together.

==================  ====================================================================================
examples            images to explain, with their classes and human maps
image               one image: decision, maps, regions that add up to the margin, agreement
image_figure        its figure
image_json          its numbers
image_table         images.csv and regions.csv
data_set            a data set: every image through the same tests
data_set_overview   what is found: mean maps, the cells that decide, disagreements, errors
data_set_table      samples.csv, a row an image
data_set_page       the HTML report
data_set_pictures   its pictures, as far as the terms of the data allow
==================  ====================================================================================
"""
