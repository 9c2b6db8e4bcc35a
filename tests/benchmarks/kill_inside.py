"""``kill -9`` at random moments inside runs, again and again; then the same grid to its end, against one left alone.

``python tests/benchmarks/kill_inside.py`` makes a grid with a real launcher and worker processes. A kill takes the
processes of the runs, the launcher alone, or all of them. In the end no run may be lost; predictions, weights and
history must be those of a grid that nobody killed, byte for byte; and each run must have gone on from what it kept: its
method counts every step that is begun, so what was trained more than once is known to the step.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from divsal_bench.grid import planning, pool
from divsal_bench.grid.jobs import Job
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs import store, unfinished
from divsal_bench.runs.reading import Run, read_runs
from divsal_bench.training.training import Streams

SMALL = dataclasses.replace(
    protocols.find_protocol("quick-v1"), name="small", input_size=32, epochs=10,
    backbone_args={"channels": [8, 8, 16, 16], "stem_width": 4}, selection="validation-auroc",
)  # fmt: skip
#: Somebody else's method, which writes one byte for each step that it begins.
PACKAGE = '''
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from divsal_bench.baselines.cyborg_shuffled import CyborgShuffled


@dataclass
class Counted(CyborgShuffled):
    """The shuffled control, counted; its running mean of the loss goes into the loss."""

    name: ClassVar[str] = "counted"

    def loss(self, batch, out):
        with Path(os.environ["KILL_COUNTS"], str(batch.generator.initial_seed())).open("ab") as file:
            file.write(b".")
        found = super().loss(batch, out)
        self.mean = 0.9 * getattr(self, "mean", 1.0) + 0.1 * found["loss"].detach()
        return {**found, "loss": found["loss"] * (1 + 0.1 * self.mean)}
'''
KEPT = ("predictions.parquet", "model.safetensors", "history.csv")


class Watched:
    """The grid that is killed."""

    def __init__(self, folder: Path, seeds: int, minutes: float) -> None:
        self.folder, self.seeds, self.minutes = folder, seeds, minutes
        self.out, self.counts = folder / "killed", folder / "counts"
        self.counts.mkdir()
        (folder / "counted.py").write_text(PACKAGE, encoding="utf-8")
        info = folder / "counted-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counted\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text("[divsal_bench.methods]\ncounted = counted:Counted\n", encoding="utf-8")
        #: By run id: steps that were trained more than once.
        self.repeated: dict[str, int] = {}

    def start(self, out: Path) -> subprocess.Popen[bytes]:
        """A launcher in a process group of its own."""
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH")]))
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, __file__, "--launch", str(out), "--seeds", str(self.seeds), "--minutes",
                 str(self.minutes)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "PYTHONPATH": path, "KILL_COUNTS": str(self.counts)},
            )  # fmt: skip

    def log(self) -> str:
        """What the launcher said."""
        return (self.folder / "log").read_text(encoding="utf-8")

    def begun(self, run_id: str) -> int:
        """Steps that were begun of a run, in all its parts."""
        path = self.counts / str(self.seed_of[run_id])
        return path.stat().st_size if path.exists() else 0

    def total(self) -> int:
        """Steps that were begun of all runs."""
        return sum(path.stat().st_size for path in self.counts.iterdir())

    def plan(self) -> None:
        """Learn which runs there will be."""
        jobs = planned(self.folder / "nothing", self.seeds, self.minutes)
        self.steps = -(-jobs[0].data.train // SMALL.batch_size) * SMALL.epochs
        self.seed_of = {job.spec.run_id: stream_of_method(job) for job in jobs}

    def note_lost(self) -> list[int]:
        """After a kill: how many steps each unfinished run that had begun will do once more."""
        done = {run.record.run_id for run in read_runs(self.out)}
        lost = []
        for run_id in self.seed_of.keys() - done:
            reached = self.begun(run_id) - self.repeated.get(run_id, 0)
            path = unfinished.folder_of(self.out, run_id) / "state.json"
            saved = json.loads(path.read_text(encoding="utf-8"))["step"] if path.exists() else 0
            if reached:
                lost.append(reached - saved)
                self.repeated[run_id] = self.repeated.get(run_id, 0) + reached - saved
        return lost


def stream_of_method(job: Job) -> int:
    """What the generator of a run's method is seeded with: the name of the file of its steps."""
    spec = job.spec
    return Streams.of(spec.task, spec.data_fingerprint, spec.backbone, spec.seed).method + 1


def planned(out: Path, seeds: int, minutes: float) -> list[Job]:
    """The jobs that are missing."""
    asked = planning.Grid(
        ("cxr",), tuple(method_choice.choose_methods("counted")), tuple(range(seeds)), out, SMALL, data="standin",
        device="cpu", checkpoint_minutes=minutes,
    )  # fmt: skip
    return [job for part in planning.plan(asked) for job in part.jobs]


def members(group: int) -> dict[int, int]:
    """Process to parent, of the processes of a group that still run."""
    listing = subprocess.run(
        ["ps", "-eo", "pgid=,pid=,ppid=,stat="], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    rows = [line.split() for line in listing.splitlines()]
    return {int(pid): int(parent) for own, pid, parent, state in rows if int(own) == group and state[0] != "Z"}


def wait_until_gone(group: int) -> None:
    """Wait for the last process of a killed group."""
    while members(group):
        time.sleep(0.02)


def kill_some(watched: Watched, chance: random.Random) -> list[tuple[str, list[int]]] | None:
    """Start the launcher, kill the runs' processes while they train, then the launcher; None if it ended by itself.

    Returns:
        For each moment, what was killed and how many steps are to be repeated.
    """
    process = watched.start(watched.out)
    found = []
    for last in (False, True):
        before = watched.total()
        while watched.total() == before and process.poll() is None:
            time.sleep(0.01)
        deadline = time.monotonic() + chance.uniform(0, 2.5)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        if process.poll() is not None:
            return found or None
        if last:
            how = chance.choice(["all", "launcher"])
            os.kill(process.pid, signal.SIGKILL) if how == "launcher" else os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            wait_until_gone(process.pid)
            found.append((how, watched.note_lost()))
        else:  # once: the launcher tries a run whose process died once more, not twice
            inside = members(process.pid)
            runs = [pid for pid, parent in inside.items() if parent in inside and parent != process.pid]
            for pid in runs:
                os.kill(pid, signal.SIGKILL)
            found.append(("runs", watched.note_lost()))
    return found


def contents(run: Run) -> list[bytes]:
    """What a run computed."""
    return [(run.path / name).read_bytes() for name in KEPT]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=6, help="runs; more if they end before the kills")
    parser.add_argument("--minutes", type=float, default=0.02, help="as --checkpoint-minutes")
    parser.add_argument("--random", type=int, default=0, help="seed of the random moments")
    parser.add_argument("--launch", type=Path, metavar="OUT", help="be the launcher (for this script's own use)")
    arguments = parser.parse_args()
    if arguments.launch is not None:
        pool.run_jobs(planned(arguments.launch, arguments.seeds, arguments.minutes), 2)
        return 0
    chance, started = random.Random(arguments.random), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(Path(folder), arguments.seeds, arguments.minutes)
        sys.path.insert(0, folder)
        watched.plan()
        lost: list[int] = []
        kills = 0
        while kills < arguments.kills:
            found = kill_some(watched, chance)
            if found is None:
                assert len(read_runs(watched.out)) == watched.seeds, watched.log()
                watched.seeds += 2
                watched.plan()
                continue
            kills += len(found)
            for how, repeated in found:
                whole = len(read_runs(watched.out))
                print(f"killed {how}: {whole} of {watched.seeds} runs whole, to repeat {repeated} steps", flush=True)
                lost += repeated
        assert watched.start(watched.out).wait() == 0, watched.log()
        killed = {run.record.run_id: run for run in read_runs(watched.out)}
        executed = {run_id: watched.begun(run_id) for run_id in killed}
        assert watched.start(watched.folder / "alone").wait() == 0, watched.log()
        alone = {run.record.run_id: run for run in read_runs(watched.folder / "alone")}
        assert len(alone) == watched.seeds
        assert killed.keys() == alone.keys(), "a run was lost"
        for run_id, run in killed.items():
            assert run.record.status == "done", run.record.error
            assert contents(run) == contents(alone[run_id]), f"{run.path} has other numbers"
            assert executed[run_id] - watched.repeated.get(run_id, 0) == watched.steps, f"{run.path} was begun anew"
        assert sum(run.record.resumes for run in killed.values()) > 0, "no run went on"
        assert not (watched.out / ".unfinished").exists()
        assert not list((watched.out / store.ASIDE).iterdir())
        pace = statistics.median(run.record.train_seconds / watched.steps for run in alone.values())
        print(
            f"{kills} kills in {time.monotonic() - started:.0f} s met {len(lost)} runs in the middle: {len(killed)} of "
            f"{len(alone)} runs are there, 0 lost, and identical to the last bit; they went on "
            f"{sum(run.record.resumes for run in killed.values())} times. Repeated after a kill: median "
            f"{statistics.median(lost):.0f} steps, at most {max(lost)}, of {watched.steps // SMALL.epochs} an epoch "
            f"(about {max(lost) * pace:.1f} s; a checkpoint was due every {60 * arguments.minutes:.1f} s)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
