"""``divsal-bench push`` and ``data push``: to the Hugging Face Hub, as far as the data's terms allow."""

from __future__ import annotations

import argparse

from divsal_bench.cli import say
from divsal_bench.hub.push import Pushed
from divsal_bench.workflows.pushing import PushedRun, push, push_data


def command(arguments: argparse.Namespace) -> int:
    """Push every method's runs to a repository of their own."""

    done = push(
        arguments.runs or arguments.out,
        to=arguments.to,
        task=arguments.task,
        method=arguments.method,
        data=arguments.data,
        private=arguments.private,
        permitted=arguments.i_have_permission,
        say=say,
        on_pushed=print_pushed,
    )
    say(f"next: divsal-bench verify {done[0].on_hub.repo}@{done[0].on_hub.branch}")
    say("`divsal-bench submit` links accepted results to these commits")
    return 0


def print_pushed(one: PushedRun) -> None:
    """One line for each run that is on the Hub."""
    print(f"{pushed_line(one.on_hub)} (seed {one.run.spec.seed}, branch {one.on_hub.branch})", flush=True)


def data_command(arguments: argparse.Namespace) -> int:
    """Push a prepared data set."""
    done = push_data(
        arguments.data,
        to=arguments.to,
        name=arguments.name,
        private=arguments.private,
        permitted=arguments.i_have_permission,
        say=say,
    )
    print(pushed_line(done.on_hub))
    say(f"next: divsal-bench run --task {done.info.task} --method all --data {done.origin}")
    return 0


def pushed_line(done: Pushed) -> str:
    """What lies on the Hub now, and whether it was there before."""
    return f"{'pushed' if done.changed else 'unchanged'}: {done.repo}@{done.commit}"
