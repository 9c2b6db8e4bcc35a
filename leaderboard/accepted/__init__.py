"""What is in the repository: claims whose every number has been computed again from the margins beside them.

``publishing`` and ``submission`` make them from runs, ``reading`` and ``all_results`` read them, ``rescoring`` names
the first number that differs, ``proofs`` says how far somebody else has verified or reproduced one, ``board_file``
keeps their tables and ``changes`` tells a reviewer what a change does to them. Knows claims, tables and runs; data
and weights are handed in by whoever can open them.
"""
