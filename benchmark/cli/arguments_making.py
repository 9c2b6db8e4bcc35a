"""Arguments of the commands that make data and runs."""

from __future__ import annotations

from pathlib import Path

from divsal_bench.cli.arguments import (
    Commands,
    Joined,
    Parser,
    add_format,
    add_hardware,
    add_permission,
    add_training,
    lazy,
)


def add_run(commands: Commands[Parser]) -> None:
    """``run``."""
    run = commands.add_parser(
        "run",
        help="train and evaluate what is missing of a grid, then print its table",
        description=(
            "Train and evaluate tasks × methods × seeds. What the output folder already holds is not run "
            "again, so the same command goes on after any interruption. Standard output carries the table alone."
        ),
    )
    run.add_argument("--task", required=True, action=Joined, metavar="T",
                     help="a task, several joined by commas, or `all`")  # fmt: skip
    run.add_argument(
        "--method", default="all", action=Joined, metavar="M",
        help="methods joined by commas; `all` (default) is all but the controls, `all,controls` adds them; "
        "fields follow a colon: 'cyborg:alpha=0.3,cam_class=predicted'",
    )  # fmt: skip
    run.add_argument("--seeds", default="5", metavar="N", help="seeds 0 to N−1, or a range A-B (default: 5)")
    add_training(run)
    add_hardware(run)
    run.add_argument("--backbone", metavar="B", help="a timm name (default: the protocol's)")
    run.add_argument("--head", choices=("two-logit", "one-logit"), default="two-logit", metavar="HEAD",
                     help="two-logit (default) or one-logit")  # fmt: skip
    run.add_argument(
        "--data", metavar="D",
        help="a prepared folder, a Hub id org/name[@revision], or standin, standin:oracle, standin:null "
        "(default: the task's prepared data if there is any, else its stand-in)",
    )  # fmt: skip
    run.add_argument("--plan", action="store_true", help="print what would be run, and stop")
    run.add_argument("--retry-failed", action="store_true", help="run failed and diverged runs again")
    run.add_argument("--checkpoint-minutes", type=float, default=1.0, metavar="N",
                     help="keep the state of a run after every epoch and every N minutes (default: 1), as far as that "
                     "costs 1 %% of the time at most; 0 keeps none")  # fmt: skip
    add_format(run)
    run.set_defaults(handler=lazy("run:command"))


def add_data(commands: Commands[Parser]) -> None:
    """``data``."""
    data = commands.add_parser("data", help="prepare, check and list data sets")
    verbs = data.add_subparsers(metavar="verb", required=True, dest="verb")
    prepare = verbs.add_parser("prepare", help="write a data set, as its owner delivers it, in the canonical form")
    prepare.add_argument("task", metavar="TASK")
    prepare.add_argument("--from", dest="adapter", default="manifest-csv", metavar="ADAPTER",
                         help="how the data is delivered (default: manifest-csv)")  # fmt: skip
    prepare.add_argument("--source", type=Path, metavar="PATH", help="what the adapter reads, e.g. a manifest.csv")
    prepare.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: the task's own place)")
    prepare.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                         help="an option of the adapter, or window=… or map=…: how 16-bit images and colour maps are "
                         "read; see divsal-bench info ADAPTER")  # fmt: skip
    prepare.add_argument("--force", action="store_true", help="replace what is there")
    prepare.set_defaults(handler=lazy("data:prepare_command"))
    check = verbs.add_parser("check", help="verify a prepared set and print what is in it")
    check.add_argument("data", metavar="DATA", help="a task (its prepared data), a folder, or a Hub id")
    check.set_defaults(handler=lazy("data:check_command"))
    push = verbs.add_parser(
        "push", help="put a prepared set on the Hugging Face Hub",
        description="As far as the terms of its sources allow. The same push again makes no new commit.",
    )  # fmt: skip
    push.add_argument("data", metavar="TASK|FOLDER", help="a task's prepared set, or its folder")
    push.add_argument("--to", required=True, metavar="NAMESPACE", help="your user name or an organisation on the Hub")
    push.add_argument("--name", metavar="NAME", help="of the repository (default: the task and its fingerprint)")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    add_permission(push, "images")
    push.set_defaults(handler=lazy("push:data_command"))
    listing = verbs.add_parser("list", help="show what is prepared")
    listing.set_defaults(handler=lazy("data:list_command"))


def add_standins(commands: Commands[Parser]) -> None:
    """``standins check``."""
    standins = commands.add_parser("standins", help="check the built-in data")
    verbs = standins.add_subparsers(metavar="verb", required=True, dest="verb")
    check = verbs.add_parser(
        "check",
        help="compare the stand-in variants under cross-entropy",
        description=("The one place that compares variants: cross-entropy on standin, standin:oracle, standin:null."),
    )
    check.add_argument("--task", default="all", metavar="T", help="a task, several joined by commas, or `all`")
    check.add_argument("--seeds", default="5", metavar="N", help="seeds 0 to N−1 (default: 5)")
    add_training(check)
    check.add_argument("--retry-failed", action="store_true", help="run failed and diverged runs again")
    add_format(check)
    check.set_defaults(handler=lazy("standins:command"))


def add_check(commands: Commands[Parser]) -> None:
    """``check``."""
    check = commands.add_parser(
        "check",
        help="does a new method or task keep what the contract promises?",
        description=(
            "Check a method or a task, one line a check: what it declares, what its loss or its stand-in does, and a "
            "short run on the built-in data, all in a folder that is removed again. Exit code 1 when a check fails."
        ),
    )
    check.add_argument("plugin", metavar="PLUGIN", help="a method's or task's name, or one .py file, whose code is run")
    check.set_defaults(handler=lazy("check:command"))


def add_study(commands: Commands[Parser]) -> None:
    """``study``."""
    study = commands.add_parser(
        "study",
        help="three published findings about maps, looked for here: difference, imbalance, case",
        description="Trains what is missing, measures, and prints the tables of docs/studies.md.",
    )
    study.add_argument("study", choices=("difference", "imbalance", "case"), metavar="STUDY",
                       help="difference: difference maps against true-class CAMs; imbalance: 9:1 data with a one-logit "
                       "head; case: class sensitivity, fidelity and the collapse of CASE")  # fmt: skip
    study.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="difference: these runs, nothing is trained")
    study.add_argument("--task", default="all", metavar="T", help="a task, several joined by commas, or `all`")
    study.add_argument("--seeds", default="5", metavar="N", help="seeds 0 to N−1 (default: 5)")
    study.add_argument("--data", metavar="D", help="the data of RUNS, where it was moved")
    study.add_argument("--images", type=int, default=200, metavar="N", help="cover at most N test images (200)")
    study.add_argument("--k", type=float, default=5.0, metavar="K", help="per cent of the cells compared (5)")
    study.add_argument("--tau", type=float, default=50.0, metavar="TAU", help="per cent to be below (50)")
    study.add_argument("--epochs", type=int, default=64, metavar="E", help="of the collapse (64)")
    add_training(study)
    add_format(study)
    study.set_defaults(handler=lazy("study:command"))


def add_speed(commands: Commands[Parser]) -> None:
    """``speed``."""
    speed = commands.add_parser(
        "speed",
        help="how fast training and evaluation are on this machine, as ratios",
        description=(
            "Let contenders take turns, step by step, on drawn data: the loop one would write by hand, every method, "
            "a CYBORG step in the style of public code, the cache against memory, evaluation by batch against one by "
            "one. Two minutes with the small network; a large one's steps take seconds each. Nothing is kept on disk."
        ),
    )
    speed.add_argument("--backbone", metavar="B", help="a timm name, without its weights (default: the protocol's)")
    speed.add_argument("--size", type=int, metavar="PX", help="side of the input (default: the protocol's)")
    speed.add_argument("--batch", type=int, metavar="N", help="images of a step (default: the protocol's)")
    speed.add_argument("--protocol", metavar="P",
                       help="training protocol (default: quick-v1, or cyborg-v1 with --backbone)")  # fmt: skip
    speed.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda or mps")
    speed.add_argument("--only", action=Joined, metavar="NAMES",
                       help="loop, methods, published, cache, evaluation, arithmetic, workers, or methods by name, "
                       "joined by commas (default: all but workers)")  # fmt: skip
    speed.add_argument("--pairs", type=int, default=9, metavar="N", help="pairs of each comparison (default: 9)")
    speed.add_argument("--steps", type=int, metavar="N",
                       help="steps of each in a pair (default: those that fit into 6 s for all pairs)")  # fmt: skip
    speed.add_argument("--threads", type=int, metavar="N", help="of the processor (default: the protocol's)")
    speed.add_argument("--mapped", type=int, default=100, metavar="PERCENT",
                       help="of the rows that have a human map (default: 100, the most that guidance "
                       "can cost)")  # fmt: skip
    speed.add_argument("--workers", type=int, metavar="W", help="also time a grid by W workers against one; minutes")
    add_format(speed)
    speed.set_defaults(handler=lazy("speed:command"))
