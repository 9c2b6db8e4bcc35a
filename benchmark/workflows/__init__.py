"""What Python users call: one function for each thing that a command does, and what those functions share.

``divsal_bench.NAME`` is one of them; :mod:`divsal_bench` lists them all. Their dialect:

* What it is about comes first and needs no name: runs, a task, a model, images. Everything else is named.
* Runs are an output folder, a run directory, a :class:`Run` or several of these (:data:`selection.Runs`); paths are
  text or :class:`Path`; names of tasks and methods are one, several, or one text with commas (:data:`selection.Names`).
* An argument is called like the option of its command; the same thing has the same name everywhere.
* Nothing prints: what must be heard goes through ``say``, and what happens meanwhile through callbacks ``on_…``.
* A result is a frozen dataclass, or a list of such. ``frame()`` is its main table as a data frame, other methods make
  the others, ``text()`` is what the command prints; what costs nothing is an attribute. What is wrong is a UserError.

Beside those functions: which runs (:mod:`selection`, :mod:`found_runs`) and grids (:mod:`asking`) are meant, their data
(:mod:`run_data`), cards (:mod:`model_cards`), tidying. With the command line the only room that knows engine and
leaderboard.
"""
