"""How a run.json of an older schema becomes one of today's, so that a schema can be raised and no run is lost.

When to raise :data:`divsal_bench.runs.records.SCHEMA_VERSION`: when a program of today would misread the new files,
because a field is gone, is called otherwise, or means something else. A new field with a default needs no new version:
older files lack it and get the default, as ``files``, ``processor`` and ``terms`` did. Numbers that may come out
differently for the same specification raise ENGINE_VERSION instead.

How to write a step: raise SCHEMA_VERSION and the ``Literal`` in :class:`divsal_bench.runs.records.Record` from n to
n + 1, and add to :data:`RECORD_STEPS` the entry n: a plain function that takes the content of version n, as JSON had
it, and returns that of n + 1; ``schema_version`` itself is seen to. It is applied before anything but the file's size
is checked; where a stranger's file lacks what it reaches for, the reader says that the file is damaged. It leaves alone
whatever ``run_id`` is a hash of (``spec``), or old runs would no longer be found. Earlier steps stay as they are: a
file of version 1 goes through all of them. Test it with a whole file of the old version.

Other typed files have tables of their own and the same reader, :mod:`divsal_bench.files.models`.
"""

from __future__ import annotations

from divsal_bench.files.models import Steps

#: Version of run.json to the step from it to the next; empty as long as there is one version.
RECORD_STEPS: Steps = {}
