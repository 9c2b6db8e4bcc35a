"""The drawn data sets behind the tasks: everything runs with no download, and every cause is known."""
