"""Arguments of the commands that show, compare and publish results."""

from __future__ import annotations

from pathlib import Path

from divsal_bench.cli.arguments import FORMATS, METHODS, Commands, Parser, add_format, lazy


def add_listings(commands: Commands[Parser]) -> None:
    """``list`` and ``info``."""
    listing = commands.add_parser("list", help="list tasks, methods, backbones or protocols")
    listing.add_argument("what", choices=("tasks", "methods", "backbones", "protocols"), metavar="what",
                         help="tasks, methods, backbones or protocols")  # fmt: skip
    listing.set_defaults(handler=lazy("listing:command"))
    info = commands.add_parser("info", help="everything known about a task, method, backbone or protocol")
    info.add_argument("name", metavar="NAME")
    info.set_defaults(handler=lazy("listing:info"))


def add_results(commands: Commands[Parser]) -> None:
    """``status`` and ``show``."""
    status = commands.add_parser("status", help="count the runs in an output folder")
    status.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="results (default: runs/)")
    add_format(status)
    status.set_defaults(handler=lazy("results:status_command"))
    show = commands.add_parser("show", help="everything about one run")
    show.add_argument("run", metavar="RUN", help="a run directory, or the first digits of a run id")
    show.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where run ids are looked up")
    show.add_argument("--format", choices=("terminal", "json"), default="terminal", metavar="FORMAT",
                      help="terminal (default) or json")  # fmt: skip
    show.set_defaults(handler=lazy("results:show_command"))


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
    compare.set_defaults(handler=lazy("compare:command"))


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
    calibrate.add_argument("--workers", type=int, default=0, metavar="W",
                           help="worker processes (default: 0, which simulates in this one)")  # fmt: skip
    add_format(calibrate)
    calibrate.set_defaults(handler=lazy("calibrate:command"))


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
    board.set_defaults(handler=lazy("board:command"))


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
    audit.set_defaults(handler=lazy("audit:command"))


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
    submit.set_defaults(handler=lazy("submit:command"))
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
    verify.set_defaults(handler=lazy("verify:command"))
