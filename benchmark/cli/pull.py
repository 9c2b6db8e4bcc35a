"""``divsal-bench pull``: a model repository of the Hub, checked, into the cache or a folder."""

from __future__ import annotations

import argparse
import shlex

from divsal_bench.cli import say
from divsal_bench.workflows.pulling import pull


def command(arguments: argparse.Namespace) -> int:
    """Fetch a repository at a commit and say where it lies."""
    done = pull(arguments.id, out=arguments.out, say=say)
    print(f"{done.origin}\n{done.folder}")
    shown = done.origin if arguments.out is None else done.folder
    say(f"score images with: divsal-bench predict {shlex.quote(str(shown))} IMAGES")
    return 0
