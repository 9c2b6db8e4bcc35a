"""Peak memory of a process that trains on data larger than memory: ``python tests/benchmarks/memory.py``.

Each number is that of a process of its own: it opens a drawn cache, trains some steps, reads all training rows as an
epoch does, and predicts the test split with maps. The first row, whose data is next to nothing, is what the network and
the libraries take. The drawn data takes 8 GB of disk for each 50,000 rows of 224 px RGB, and is removed.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measure(folder: Path, backbone: str, batch: int, steps: int) -> None:
    """In a process of its own: print peak memory in MB, that of the same work before any row was read, and seconds."""
    import torch

    from divsal_bench.data.arrays import open_cached
    from divsal_bench.evaluation.predictions import predictions
    from divsal_bench.grid.work import split_rows
    from divsal_bench.networks import backbones, devices
    from divsal_bench.registry import plugins, protocols
    from divsal_bench.training.feeding import fed
    from divsal_bench.training.splits import resident, room_for_rows
    from divsal_bench.training.training import Streams, Training, batches

    device = torch.device("cpu")
    data = open_cached(folder)
    size = data.images.shape[-1]
    protocol = dataclasses.replace(
        protocols.find_protocol("cyborg-v1"), backbone=backbone, batch_size=batch, input_size=size, pretrained=False
    )
    devices.make_deterministic(protocol.threads)
    model = backbones.build(backbone, protocol, 3, "two-logit", seed=0)
    train, validation = (split_rows(data, name, device) for name in ("train", "validation"))
    method = plugins.methods().get("cyborg")()
    streams = Streams.of("cxr", data.fingerprint, backbone, 0)
    started = time.perf_counter()
    training = Training(model, method, resident(train, room_for_rows(device)), validation, protocol, streams)
    for _ in range(min(steps, training.steps - 1)):
        training.step()
    training.close()
    bytes_read = 0
    for raw in fed(training.train, batches(len(train), batch, torch.Generator().manual_seed(1))):
        bytes_read += raw.images.nbytes
    predictions(model, data, protocol)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024, bytes_read / 1e9, time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 50_000, 200_000])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10, help="training steps before the epoch's rows are read")
    parser.add_argument("--folder", type=Path, help="measure this drawn folder, in this process")
    arguments = parser.parse_args()
    if arguments.folder:
        measure(arguments.folder, arguments.backbone, arguments.batch, arguments.steps)
        return 0
    here = Path(__file__).parent
    first = None
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "cache")
            drawing = [sys.executable, here / "draw_cache.py", folder, "--rows", rows, "--size", arguments.size]
            subprocess.run([str(word) for word in drawing], check=True, stdout=subprocess.DEVNULL)
            words = [sys.executable, __file__, "--folder", folder, "--backbone", arguments.backbone, "--batch",
                     arguments.batch, "--steps", arguments.steps]  # fmt: skip
            done = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)
        peak, read, seconds = map(float, done.stdout.split())
        first = peak if first is None else first
        print(
            f"{rows:>9,} training rows: peak {peak:,.0f} MB, {peak - first:+,.0f} MB on the first; "
            f"{read:.1f} GB of training rows read, {seconds:.0f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
