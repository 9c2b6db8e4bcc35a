"""What push, pull and verify cost beside the plain client with the same bytes, and how much memory they take.

Prints, asserts nothing: `python tests/benchmarks/hub.py [--rounds 3] [--backbone resnet18]`. The server is the one of
the tests, in a process of its own on this machine; the weights are those of a ResNet-18 (45 MB) with random values.
Targets: at most 10 s more than 1.1 × the plain client, and memory of at most the weights + 500 MB.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "builders"))

PLAIN = """
import sys, shutil
from huggingface_hub import HfApi, snapshot_download
folder, repo = sys.argv[1:]
api = HfApi()
api.create_repo(repo)
for branch in ("seed-0", "main"):
    if branch != "main":
        api.create_branch(repo, branch=branch)
    api.upload_folder(repo_id=repo, folder_path=folder, revision=branch, ignore_patterns=["hub.json"])
snapshot_download(repo, revision="seed-0")
snapshot_download(repo, revision="seed-0")
"""


def make_run(out: Path, backbone: str, stride: int | None) -> Path:
    """A run of a large network with random weights, scored like any other, at 64 px."""
    from divsal_bench.evaluation import predictions
    from divsal_bench.grid import planning, recording
    from divsal_bench.networks import backbones
    from divsal_bench.registry import method_choice, plugins, protocols
    from divsal_bench.runs import store
    from divsal_bench.scores import scoring

    protocol = dataclasses.replace(protocols.find_protocol("quick-v1"), backbone=backbone, backbone_args={}, threads=2)
    protocol = dataclasses.replace(protocol, output_stride=stride)
    grid = planning.Grid(
        ("cxr",), tuple(method_choice.choose_methods("cross-entropy")), (0,), out, protocol, data="standin"
    )
    job = planning.plan(grid)[0].jobs[0]
    from divsal_bench.data.arrays import open_cached

    model = backbones.build(backbone, protocol, 1, "two-logit", seed=0, check=False)
    table = predictions.predictions(model, open_cached(Path(job.cache)), protocol)
    scores = scoring.score(table, plugins.tasks().get("cxr").field_metrics)
    facts = {"device": "cpu", "model_args": backbones.model_args(backbone, protocol, 1, "two-logit")}
    record = recording.record_of(job, "done", 0.0, facts, scores=scores)

    def write_files(folder: Path) -> None:
        from safetensors.torch import save_file

        tensors = {name: value.contiguous() for name, value in model.net.state_dict().items()}
        save_file(tensors, str(folder / "model.safetensors"))
        table.to_parquet(folder / "predictions.parquet", index=False)

    return store.save_run(out, record, write_files)


def timed(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of one command."""
    watch = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024); sys.exit(code)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", watch, *command], env=env, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{command} failed: {done.stderr[-2000:]}")
    return seconds, float(done.stdout.split()[-1])


def main() -> None:
    """Measure and print."""
    from hub_server import HubProcess

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--backbone", default="resnet18")
    arguments.add_argument("--stride", type=int, help="output stride of the network (default: its own)")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DIVSAL_BENCH_HOME"] = str(folder / "home")
        run = make_run(folder / "runs", asked.backbone, asked.stride)
        weights = (run / "model.safetensors").stat().st_size / 2**20
        print(f"{asked.backbone}: {weights:.0f} MB of weights")
        extra, plain_seconds = [], []
        peaks: dict[str, float] = {}
        for number in range(asked.rounds):
            with HubProcess(folder / f"server{number}") as server:
                env = {
                    **os.environ, "HF_ENDPOINT": server.url, "HF_TOKEN": "hf_ann", "HF_HUB_DISABLE_XET": "1",
                    "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                }  # fmt: skip
                plain, _ = timed(
                    [sys.executable, "-c", PLAIN, str(run), "ann/plain"], {**env, "HF_HOME": str(folder / f"p{number}")}
                )
                env["HF_HOME"] = str(folder / f"h{number}")
                tool = [sys.executable, "-m", "divsal_bench"]
                total = 0.0
                from divsal_bench.hub import names
                from divsal_bench.runs.reading import read_run

                repo = names.repository("ann", read_run(run).record) + "@seed-0"
                for step, command in (
                    ("push", ["push", str(run), "--to", "ann"]),
                    ("pull", ["pull", repo]),
                    ("verify", ["verify", repo]),
                ):
                    seconds, peak = timed([*tool, *command], env)
                    peaks[step] = max(peaks.get(step, 0.0), peak)
                    total += seconds
                    print(f"  round {number}: {step} {seconds:.2f} s, peak {peak:.0f} MB")
                plain_seconds.append(plain)
                extra.append(total - 1.1 * plain)
                print(f"  round {number}: plain client {plain:.2f} s; push + pull + verify {total:.2f} s")
        print(
            f"beyond 1.1 × the plain client ({statistics.median(plain_seconds):.2f} s): median "
            f"{statistics.median(extra):.2f} s (target ≤ 10), from {min(extra):.2f} to {max(extra):.2f}"
        )
        for step, peak in peaks.items():
            print(f"{step}: peak {peak:.0f} MB = weights + {peak - weights:.0f} MB (target ≤ 500)")
        bare, libraries = timed([sys.executable, "-c", "import torch, timm"], dict(os.environ))
        print(f"for comparison, `import torch, timm` alone: {bare:.2f} s, {libraries:.0f} MB")
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"(this process, which made the run: {own:.0f} MB)")


if __name__ == "__main__":
    main()
