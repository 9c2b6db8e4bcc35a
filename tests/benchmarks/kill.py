"""``kill -9`` of a command and its workers at random moments, again and again; then the same command to its end.

``python tests/benchmarks/kill.py`` runs the real command line on the cxr stand-in. After every kill each run that
counts must be whole, and every run that was finished before must still be there, byte for byte. At the end exactly
the runs asked for exist, each once. Every fourth kill is aimed at the milliseconds in which a run is being saved.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from divsal_bench.grid import planning
from divsal_bench.registry import method_choice
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run, read_runs

FILES = {"run.json", "predictions.parquet", "model.safetensors", "history.csv"}


def contents(run: Run) -> str:
    """A hash of everything in a run directory, and a check that it is whole."""
    import pandas as pd
    from safetensors.torch import load_file

    names = {path.name for path in run.path.iterdir()}
    assert names == FILES, f"{run.path} holds {sorted(names)}"
    assert run.record.status == "done", f"{run.path} is {run.record.status}: {run.record.error}"
    rows = run.record.data.validation + run.record.data.test
    table = run.predictions()
    assert len(table) == rows, f"{run.path} has {len(table)} predictions of {rows}"
    assert table[["logit0", "logit1"]].notna().all(axis=None), f"{run.path} has predictions without a score"
    assert load_file(run.path / "model.safetensors"), f"{run.path} has an empty model"
    epochs = len(pd.read_csv(run.path / "history.csv"))
    assert epochs == run.spec.protocol_settings["epochs"], f"{run.path} has {epochs} epochs"
    digest = hashlib.sha256()
    for name in sorted(FILES):
        digest.update((run.path / name).read_bytes())
    return digest.hexdigest()


class Grid:
    """One command, started again and again, and what must be true after each time."""

    def __init__(self, folder: Path, methods: str, workers: int) -> None:
        self.folder = folder
        self.out = folder / "runs"
        self.methods = methods
        self.workers = workers
        self.finished: dict[str, str] = {}

    def expected(self, seeds: int) -> set[str]:
        """Run ids of the grid, planned for a folder that stays empty."""
        grid = planning.Grid(
            tasks=("cxr",),
            methods=tuple(method_choice.choose_methods(self.methods)),
            seeds=tuple(range(seeds)),
            out=self.folder / "nothing",
            data="standin",
            device="cpu",
        )
        return {job.spec.run_id for part in planning.plan(grid) for job in part.jobs}

    def start(self, seeds: int) -> subprocess.Popen[bytes]:
        """The command, in a process group of its own."""
        command = [
            *(sys.executable, "-m", "divsal_bench", "run", "--task", "cxr", "--data", "standin", "--device", "cpu"),
            *("--method", self.methods, "--seeds", str(seeds), "--workers", str(self.workers)),
            *("--out", str(self.out)),
        ]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )

    def partial(self) -> int:
        """How many runs are being saved, or were when they were killed."""
        return len(list((self.out / store.ASIDE).glob("*-new")))

    def check(self, expected: set[str]) -> None:
        """Check every run that counts against what it was the last time."""
        runs = read_runs(self.out)
        now = {run.record.run_id: contents(run) for run in runs}
        assert len(now) == len(runs), "a run is there twice"
        assert set(now) <= expected, "a run that nobody asked for"
        assert self.finished.items() <= now.items(), "a finished run disappeared or changed"
        folders = [path for path in self.out.glob("*/*/*") if store.ASIDE not in path.parts]
        assert len(folders) == len(runs), f"a folder in place is no run: {folders}"
        self.finished = now


def kill(process: subprocess.Popen[bytes], delay: float, grid: Grid, aimed: bool) -> bool:
    """Kill the whole group after a delay, or once a run is being saved; False if it ended before."""
    deadline = time.monotonic() + delay
    before = grid.partial()
    while process.poll() is None:
        if time.monotonic() > deadline if not aimed else grid.partial() > before:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            while remaining(process.pid):
                time.sleep(0.02)
            return True
        if aimed:
            before = min(before, grid.partial())  # the command sweeps when it starts
        time.sleep(0.0005 if aimed else 0.01)
    return False


def remaining(group: int) -> list[str]:
    """Processes of a group that still run."""
    listing = subprocess.run(["ps", "-eo", "pgid=,stat=,pid="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return [pid for pgid, state, pid in rows if int(pgid) == group and not state.startswith("Z")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--methods", default="cross-entropy,cyborg")
    parser.add_argument(
        "--seeds", type=int, default=4, help="of the first grid; one more when it ends before the kills"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--random", type=int, default=0, help="seed of the random moments")
    arguments = parser.parse_args()
    chance = random.Random(arguments.random)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        grid = Grid(Path(folder), arguments.methods, arguments.workers)
        # One round without a kill tells how long a delay may be for kills to land everywhere on this machine.
        assert grid.start(1).wait() == 0, (grid.folder / "log").read_text(encoding="utf-8")
        longest = max(20.0, 1.5 * (time.monotonic() - started))
        seeds, kills, in_save = arguments.seeds, 0, 0
        expected = grid.expected(seeds)
        grid.check(expected)
        print(f"kills after 1 to {longest:.0f} s, or aimed at saving", flush=True)
        while kills < arguments.kills:
            process, delay, aimed = grid.start(seeds), chance.uniform(1, longest), kills % 4 == 3
            killed = kill(process, delay, grid, aimed)
            grid.check(expected)
            kills += killed
            in_save += killed and grid.partial() > 0
            how = "killed while saving" if aimed else f"killed after {delay:.1f} s"
            print(
                f"{kills:3d}: {how if killed else 'ended by itself'}: {len(grid.finished)} of {len(expected)} runs "
                f"whole, {grid.partial()} partial",
                flush=True,
            )
            if not killed:
                assert process.returncode == 0, (grid.folder / "log").read_text(encoding="utf-8")
                assert set(grid.finished) == expected, "the command ended and runs are missing"
                seeds += 1
                expected = grid.expected(seeds)
        before = len(grid.finished)
        assert grid.start(seeds).wait() == 0, (grid.folder / "log").read_text(encoding="utf-8")
        grid.check(expected)
        assert set(grid.finished) == expected, "the command ended and runs are missing"
        assert not list((grid.out / store.ASIDE).iterdir()), f"{store.ASIDE} was not swept"
    print(
        f"{kills} kills in {time.monotonic() - started:.0f} s, {in_save} of them left a half-saved run; {before} runs "
        f"whole before the same command ran to its end, {len(expected)} of {len(expected)} after it: none lost, none "
        "double, no partial directory counted"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
