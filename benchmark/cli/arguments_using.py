"""Arguments of the commands that use trained networks, and carry them to and from the Hub."""

from __future__ import annotations

from pathlib import Path

from divsal_bench.cli.arguments import METHODS, Commands, Parser, add_permission, add_window, lazy


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
    push.set_defaults(handler=lazy("push:command"))
    pull = commands.add_parser(
        "pull",
        help="fetch weights from the Hugging Face Hub, checked, at a commit",
        description="Prints the pinned id and the folder. Without --out the files stay in the Hub client's cache.",
    )
    pull.add_argument("id", metavar="ID", help="org/name, or org/name@REVISION: a branch such as seed-3, or a commit")
    pull.add_argument("--out", type=Path, metavar="DIR", help="copy them here, as a run directory")
    pull.set_defaults(handler=lazy("pull:command"))


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
