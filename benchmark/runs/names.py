"""The names of the files of a run, here and on the Hub."""

from __future__ import annotations

#: Below an output folder: work in progress; never counted, swept when a run command starts.
ASIDE = ".partial"
#: Below an output folder: what is kept of runs that are being made, or were until they were interrupted.
UNFINISHED = ".unfinished"
RUN_FILE = "run.json"
PREDICTIONS_FILE = "predictions.parquet"
WEIGHTS_FILE = "model.safetensors"
HISTORY_FILE = "history.csv"
#: The last that the process of a run without a result wrote to standard error.
STDERR_FILE = "stderr.txt"
#: Describes the network to timm; only a published run has it.
CONFIG_FILE = "config.json"
#: What a published run has, and what is fetched of a repository; everything else in it is left there.
PUBLISHED = (CONFIG_FILE, WEIGHTS_FILE, RUN_FILE, PREDICTIONS_FILE)
#: Ends of the names of files that can run code when they are loaded; none is.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".tar")
#: Bytes of a config.json; timm's have some hundred.
LARGEST_CONFIG = 2**20
