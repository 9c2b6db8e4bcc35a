"""What leaves the machine: model cards, the files of a published run, the gallery."""
