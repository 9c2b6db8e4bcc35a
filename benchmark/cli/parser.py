"""Arguments of every command. Only argparse is imported, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from divsal_bench.errors import UserError, unknown

METHODS = "these methods only, joined by commas; a name alone is the method with its default fields"
FORMATS = ("terminal", "markdown", "csv", "json")


class Parser(argparse.ArgumentParser):
    """argparse, with errors in one line and the closest command for a typo."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Raise the project's own error instead of printing usage."""
        raise UserError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.metavar or action.dest
            raise unknown(str(name).lower(), str(value), [str(choice) for choice in action.choices])


class Joined(argparse.Action):
    """An option that may be given again: its values are joined by commas, none is dropped in silence."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: object, *_: object) -> None:
        """Add one value."""
        given = getattr(namespace, f"_given_{self.dest}", [])
        setattr(namespace, f"_given_{self.dest}", [*given, str(values)])
        setattr(namespace, self.dest, ",".join([*given, str(values)]))


def lazy(target: str) -> Callable[[argparse.Namespace], int]:
    """A handler that imports its module when it is called; ``target`` is ``module:function``."""

    def handler(arguments: argparse.Namespace) -> int:
        module, _, function = target.partition(":")
        return int(getattr(importlib.import_module(f"divsal_bench.cli.{module}"), function)(arguments) or 0)

    return handler


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; ``handler`` of the result runs the command."""
    parser = Parser(
        prog="divsal-bench",
        description="Benchmark of training image classifiers with human saliency.",
        epilog="Start with: divsal-bench run --task cxr --method all",
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(metavar="command", required=True, dest="command")
    add_run(commands)
    add_listings(commands)
    add_data(commands)
    add_standins(commands)
    add_results(commands)
    add_check(commands)
    add_compare(commands)
    add_calibrate(commands)
    add_board(commands)
    add_audit(commands)
    add_submission(commands)
    add_predict(commands)
    add_explain(commands)
    add_hub(commands)
    add_study(commands)
    return parser.parse_args(argv)


class Version(argparse.Action):
    """Look the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it and leave."""
        from importlib.metadata import version

        print(f"divsal-bench {version('divsal-bench')}")
        parser.exit()


Commands = argparse._SubParsersAction  # argparse has no public name for it


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
    add_format(run)
    run.set_defaults(handler=lazy("run:run"))


def add_training(command: argparse.ArgumentParser) -> None:
    """What every command that trains takes."""
    command.add_argument("--protocol", default="quick-v1", metavar="P", help="training protocol (default: quick-v1)")
    command.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda or mps")
    command.add_argument(
        "--workers", type=int, metavar="W",
        help="worker processes (default: as many as the CPU has room for; one on a GPU); "
        "0 runs in this process",
    )  # fmt: skip
    command.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="results (default: runs/)")


def add_format(command: argparse.ArgumentParser) -> None:
    """How a table is written."""
    command.add_argument(
        "--format", choices=FORMATS, default="terminal", metavar="FORMAT", help=f"{', '.join(FORMATS)}"
    )


def add_listings(commands: Commands[Parser]) -> None:
    """``list`` and ``info``."""
    listing = commands.add_parser("list", help="list tasks, methods, backbones or protocols")
    listing.add_argument("what", choices=("tasks", "methods", "backbones", "protocols"), metavar="what",
                         help="tasks, methods, backbones or protocols")  # fmt: skip
    listing.set_defaults(handler=lazy("listing:show_list"))
    info = commands.add_parser("info", help="everything known about a task, method, backbone or protocol")
    info.add_argument("name", metavar="NAME")
    info.set_defaults(handler=lazy("listing:info"))


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
    prepare.set_defaults(handler=lazy("data:prepare"))
    check = verbs.add_parser("check", help="verify a prepared set and print what is in it")
    check.add_argument("data", metavar="DATA", help="a task (its prepared data), a folder, or a Hub id")
    check.set_defaults(handler=lazy("data:check"))
    push = verbs.add_parser(
        "push", help="put a prepared set on the Hugging Face Hub",
        description="As far as the terms of its sources allow. The same push again makes no new commit.",
    )  # fmt: skip
    push.add_argument("data", metavar="TASK|FOLDER", help="a task's prepared set, or its folder")
    push.add_argument("--to", required=True, metavar="NAMESPACE", help="your user name or an organisation on the Hub")
    push.add_argument("--name", metavar="NAME", help="of the repository (default: the task and its fingerprint)")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    add_permission(push, "images")
    push.set_defaults(handler=lazy("push:push_data"))
    listing = verbs.add_parser("list", help="show what is prepared")
    listing.set_defaults(handler=lazy("data:show_list"))


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
    check.set_defaults(handler=lazy("standins:check"))


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
    check.set_defaults(handler=lazy("check:check"))


def add_results(commands: Commands[Parser]) -> None:
    """``status`` and ``show``."""
    status = commands.add_parser("status", help="count the runs in an output folder")
    status.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="results (default: runs/)")
    add_format(status)
    status.set_defaults(handler=lazy("results:status"))
    show = commands.add_parser("show", help="everything about one run")
    show.add_argument("run", metavar="RUN", help="a run directory, or the first digits of a run id")
    show.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where run ids are looked up")
    show.add_argument("--format", choices=("terminal", "json"), default="terminal", metavar="FORMAT",
                      help="terminal (default) or json")  # fmt: skip
    show.set_defaults(handler=lazy("results:show"))


def add_calibrate(commands: Commands[Parser]) -> None:
    """``calibrate``."""
    calibrate = commands.add_parser(
        "calibrate",
        help="simulate boards with a known truth and count how often the leaderboard's statistics are right",
        description=(
            "Simulate boards with a known truth and count how often the leaderboard's statistics are right. "
            "Standard output carries the table alone; exit code 1 when a pass mark is missed."
        ),
    )
    calibrate.add_argument("--boards", type=int, default=2000, metavar="N", help="boards a cell (default: 2000)")
    calibrate.add_argument("--cells", default="all", metavar="C", help="names joined by commas, or `all` (default)")
    calibrate.add_argument("--seed", type=int, default=0, metavar="S", help="of the random numbers (default: 0)")
    calibrate.add_argument("--workers", type=int, default=1, metavar="W", help="worker processes (default: 1)")
    add_format(calibrate)
    calibrate.set_defaults(handler=lazy("calibrate:calibrate"))


def add_compare(commands: Commands[Parser]) -> None:
    """``compare``."""
    compare = commands.add_parser(
        "compare",
        help="two methods or two sets of runs: paired differences, intervals, and what may be claimed",
        description="Compare METHOD or FOLDER, each with @SEEDS if not all are meant: cyborg, cross-entropy@0-4.",
    )
    compare.add_argument(
        "first", metavar="A", help="a method of --out, or a folder with runs; @0-4 takes those seeds, @3 that one"
    )
    compare.add_argument("second", metavar="B", help="the same; the differences are A − B")
    compare.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where methods are looked up")
    compare.add_argument("--task", metavar="T", help="one task only")
    add_format(compare)
    compare.set_defaults(handler=lazy("compare:compare"))


def add_board(commands: Commands[Parser]) -> None:
    """``board``."""
    board = commands.add_parser(
        "board",
        help="tables of run directories, or of all accepted results; as text or as a web page",
        description="Tables of run directories (default: all in --out), or of the accepted results.",
    )
    board.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="output folders or run directories")
    board.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="results (default: runs/)")
    board.add_argument("--accepted", action="store_true", help="the accepted results, as last computed")
    board.add_argument("--recompute", action="store_true", help="check the accepted results and compute them again")
    board.add_argument("--check", action="store_true", help="check and re-score the accepted results, write nothing")
    board.add_argument("--diff", type=Path, metavar="BASE", help="what changed against another results folder")
    board.add_argument("--results", type=Path, metavar="DIR",
                       help="accepted results (default: leaderboard/results, else those shipped)")  # fmt: skip
    board.add_argument("--data", metavar="D", help="the runs' data, for the page's pictures, where it was moved")
    board.add_argument("--format", choices=(*FORMATS, "latex"), default="terminal", metavar="FORMAT",
                       help=f"{', '.join(FORMATS)}, latex")  # fmt: skip
    board.add_argument("--html", type=Path, metavar="FILE", help="write the page instead")
    board.add_argument("--audit", action="store_true", help="also what `divsal-bench audit` found in these runs")
    board.set_defaults(handler=lazy("board:board"))


def add_audit(commands: Commands[Parser]) -> None:
    """``audit``."""
    audit = commands.add_parser(
        "audit",
        help="what the maps of trained networks show, and what their decisions rest on, beside accuracy",
        description=(
            "Energy inside human maps, errors and bias by class, class sensitivity, fidelity against controls, and "
            "robustness to passive fooling, of every method over its seeds. Audits are kept beside their runs; the "
            "same command again does only what is missing. Standard output carries the tables alone."
        ),
    )
    audit.add_argument("runs", nargs="*", metavar="RUN|ID",
                       help="run directories, output folders, or org/name[@revision] on the Hub")  # fmt: skip
    audit.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="used without RUN (runs/)")
    audit.add_argument("--task", metavar="T", help="these tasks only, joined by commas")
    audit.add_argument("--method", metavar="M", help=METHODS)
    audit.add_argument("--data", metavar="D", help="the runs' prepared data, where it is not in its usual place")
    audit.add_argument("--k", type=float, metavar="PERCENT",
                       help="cells whose agreement class sensitivity counts (default: 5)")  # fmt: skip
    audit.add_argument("--tau", type=float, metavar="PERCENT",
                       help="agreement that has to be undercut (default: 50; as published: 70)")  # fmt: skip
    audit.add_argument("--reference", action="store_true", default=None,
                       help="also class sensitivity as its authors' code has it, with its known defect")  # fmt: skip
    audit.add_argument("--fidelity-k", type=float, default=50.0, metavar="PERCENT",
                       help="cells covered for the confidence drop (default: 50)")  # fmt: skip
    audit.add_argument("--images", type=int, default=200, metavar="N",
                       help="test images for sensitivity, fidelity and fooling (default: 200)")  # fmt: skip
    audit.add_argument("--workers", type=int, metavar="W",
                       help="processes (default: as many as there are processors); 0 runs in this one")  # fmt: skip
    audit.add_argument("--force", action="store_true", help="audit again what has been audited")
    add_format(audit)
    audit.set_defaults(handler=lazy("audit:audit"))


def add_submission(commands: Commands[Parser]) -> None:
    """``submit`` and ``verify``."""
    submit = commands.add_parser(
        "submit",
        help="write accepted result files for a pull request, or reproduce somebody's",
        description="Write an accepted result for each method in RUNS. The same runs again change no byte.",
    )
    submit.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="output folders or run directories")
    submit.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="used without RUNS (runs/)")
    submit.add_argument("--results", type=Path, metavar="DIR",
                        help="where to write (default: leaderboard/results of this checkout)")  # fmt: skip
    submit.add_argument("--by", required=True, metavar="NAME", help="who submits")
    submit.add_argument("--task", metavar="T", help="these tasks only, joined by commas")
    submit.add_argument("--method", metavar="M", help=METHODS)
    submit.add_argument("--data", metavar="D", help="the runs' prepared data, where it is not in its usual place")
    submit.add_argument("--weights", action="append", default=[], metavar="[SEED=]WHERE",
                        help="where the weights can be had: org/name@COMMIT on the Hub, or a path "
                        "(default: the place in the output folder); may be repeated")  # fmt: skip
    submit.add_argument("--i-have-permission", action="store_true",
                        help="publish predictions where the data's terms do not say whether one may")  # fmt: skip
    submit.add_argument("--without-pictures", action="store_true", help="show no test image of the data on the page")
    submit.add_argument("--force", action="store_true", help="replace results that are there")
    submit.add_argument("--reproduces", type=Path, metavar="FILE",
                        help="compare RUNS, new seeds of yours, with this result and store the outcome")  # fmt: skip
    submit.set_defaults(handler=lazy("submit:submit"))
    verify = commands.add_parser(
        "verify",
        help="recompute predictions from weights and compare margins, AUROCs and agreement with people",
        description="Exit code 0: verified; 1: not, with the first difference.",
    )
    verify.add_argument("runs", nargs="*", metavar="RUN|ID",
                        help="run directories, output folders, or org/name[@revision] on the Hub")  # fmt: skip
    verify.add_argument("--data", metavar="D", help="the runs' prepared data, where it is not in its usual place")
    verify.add_argument("--accepted", type=Path, metavar="FILE", help="verify this accepted result and stamp it")
    verify.add_argument(
        "--runs",
        dest="run_dir",
        type=Path,
        metavar="DIR",
        help="where its weights are (default: the Hub commits it names)",
    )
    verify.add_argument("--by", default="", metavar="NAME", help="who verifies")
    verify.add_argument("--date", default="", metavar="DATE", help="of the stamp, e.g. 2026-05-01 (default: today)")
    verify.set_defaults(handler=lazy("verify:verify"))


def add_hub(commands: Commands[Parser]) -> None:
    """``push`` and ``pull``."""
    push = commands.add_parser(
        "push",
        help="put weights, predictions and a model card on the Hugging Face Hub",
        description=(
            "One repository for each task, data set, method, backbone and protocol; a branch seed-N for each seed, "
            "main is seed 0. The same push again makes no new commit; one that broke off goes on. Your token comes "
            "from `hf auth login` or HF_TOKEN."
        ),
    )
    push.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run directories or output folders")
    push.add_argument("--to", required=True, metavar="NAMESPACE", help="your user name or an organisation on the Hub")
    push.add_argument("--private", action="store_true", help="make new repositories private")
    push.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="used without RUN (runs/)")
    push.add_argument("--task", metavar="T", help="these tasks only, joined by commas")
    push.add_argument("--method", metavar="M", help=METHODS)
    push.add_argument("--data", metavar="D", help="the runs' data: where it was moved to, or its id on the Hub, which "
                      "the card then names")  # fmt: skip
    add_permission(push, "weights and predictions")
    push.set_defaults(handler=lazy("push:push"))
    pull = commands.add_parser(
        "pull",
        help="fetch weights from the Hugging Face Hub, checked, at a commit",
        description="Prints the pinned id and the folder. Without --out the files stay in the Hub client's cache.",
    )
    pull.add_argument("id", metavar="ID", help="org/name, or org/name@REVISION: a branch such as seed-3, or a commit")
    pull.add_argument("--out", type=Path, metavar="DIR", help="copy them here, as a run directory")
    pull.set_defaults(handler=lazy("pull:pull"))


def add_permission(command: argparse.ArgumentParser, what: str) -> None:
    """``--i-have-permission``."""
    command.add_argument("--i-have-permission", action="store_true",
                         help=f"publish {what} where the data's terms do not say whether one may")  # fmt: skip


def add_window(command: Parser) -> None:
    """``--window``."""
    command.add_argument("--window", metavar="12bit|LO:HI", help="values of 16-bit files that are black and white "
                         "(default: as the network's data was prepared, else 0:65535)")  # fmt: skip


def add_predict(commands: Commands[Parser]) -> None:
    """``predict``."""
    predict = commands.add_parser(
        "predict",
        help="score image files with a trained network, and draw where its decisions come from",
        description=(
            "Score images with the network of a run, or of a repository on the Hugging Face Hub. Standard output "
            "carries the table alone; exit code 2 if an image could not be scored."
        ),
    )
    predict.add_argument("model", metavar="ID|RUN", help="a run directory, or a Hub id org/name[@revision]")
    predict.add_argument("images", nargs="+", metavar="IMAGES",
                         help="image files, folders, or CSV files that list images")  # fmt: skip
    predict.add_argument("--csv", type=Path, metavar="FILE", help="write all rows there")
    predict.add_argument("--overlay", type=Path, metavar="DIR",
                         help="write a PNG for each image there: the image, and its difference map")  # fmt: skip
    predict.add_argument("--force", action="store_true", help="replace files that are there")
    predict.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda or mps")
    add_window(predict)
    predict.add_argument("--batch-size", type=int, default=32, metavar="N", help="images at a time (default: 32)")
    predict.set_defaults(handler=lazy("predict:command"))


def add_explain(commands: Commands[Parser]) -> None:
    """``explain``."""
    explain = commands.add_parser(
        "explain",
        help="figures and numbers: which regions of an image, or of a data set, add up to the decisions",
        description=(
            "Take the logit margin of each image apart: connected regions of the difference map whose logits, with the "
            "bias, add up to it, each checked by covering it. With --set, a report on the run's own data."
        ),
    )
    explain.add_argument("model", metavar="ID|RUN", help="a run directory, or a Hub id org/name[@revision]")
    explain.add_argument("images", nargs="*", metavar="IMAGES",
                         help="image files, folders, or CSV files of images (column label: their class)")  # fmt: skip
    explain.add_argument("--out", type=Path, required=True, metavar="DIR", help="where figures and numbers are written")
    add_window(explain)
    explain.add_argument("--label", metavar="NAME", help="the images' class (default: explain the predicted class)")
    explain.add_argument("--human", type=Path, metavar="MAP|DIR",
                         help="the human map of one image, or a folder of maps named like the images")  # fmt: skip
    explain.add_argument(
        "--maps", metavar="LIST",
        help="maps, joined by commas (default: true-class,false-class,difference,case,case-clamped); hirescam, "
        "score-cam and fullgrad need the extra `explain`",
    )  # fmt: skip
    explain.add_argument("--csv", action="store_true", help="also write images.csv and regions.csv")
    explain.add_argument("--set", choices=("test", "validation"), metavar="SPLIT",
                         help="test or validation: a report on this split of the run's own data")  # fmt: skip
    explain.add_argument("--data", metavar="D", help="with --set: the run's data, where it is not in its usual place")
    explain.add_argument(
        "--limit", type=int, metavar="N", help="with --set: at most so many images, drawn by their ids"
    )
    explain.add_argument("--force", action="store_true", help="replace files that are there")
    explain.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda or mps")
    explain.set_defaults(handler=lazy("explain:command"))


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
