"""Feeding: batches that are read ahead are those that lie in memory, and nothing more is read or kept."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from divsal_bench.conformance import handover, specimens
from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit
from divsal_bench.errors import UserError
from divsal_bench.networks import backbones
from divsal_bench.registry import plugins, protocols
from divsal_bench.training import feeding, splits, training
from divsal_bench.training.handed_maps import MapsByRow
from divsal_bench.training.splits import Split, SplitRows, resident
from divsal_bench.training.training import Streams, Training

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"), name="tiny", epochs=2, batch_size=8, input_size=32, output_stride=8,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)  # fmt: skip
STREAMS = Streams.of("toy", "fingerprint", TINY.backbone, 0)
FOUND = plugins.methods().found
CPU = torch.device("cpu")
#: Rows of the source; the split has every second of them.
STORED = 70


class Stored:
    """An array that is read by rows, and what was asked of it."""

    def __init__(self, array: np.ndarray, broken: int = -1) -> None:
        self.array, self.broken = array, broken
        self.shape = array.shape
        self.asked: list[list[int]] = []
        self.threads: set[str] = set()

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.asked.append(np.asarray(rows).tolist())
        self.threads.add(threading.current_thread().name)
        if self.broken in self.asked[-1]:
            raise UserError("row is damaged; delete the folder")
        return self.array[rows]


class Filled(Stored):
    """One that also reads into memory that is there."""

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        out[...] = self[rows]


def source(count: int = 35, kind: type[Stored] = Stored, broken: int = -1) -> SplitRows:
    """A split of ``count`` rows whose positives are brighter in a corner that half of their maps mark."""
    g = np.random.default_rng(0)
    images = g.integers(0, 200, (STORED, 1, 32, 32), dtype=np.uint8)
    labels = np.arange(STORED) // 2 % 2
    images[labels == 1, :, :16, :16] += 55
    has_map = np.arange(STORED) // 2 % 4 < 2
    maps = g.integers(0, 255, (STORED, 32, 32), dtype=np.uint8) * has_map[:, None, None]
    rows = np.arange(0, 2 * count, 2)
    return SplitRows.of(kind(images, broken), kind(maps), rows, labels[rows], has_map[rows], CPU)


def trained(method: Method, split: Split, protocol: protocols.Protocol = TINY) -> list[torch.Tensor]:
    """Weights after training."""
    model = backbones.build(protocol.backbone, protocol, 1, "two-logit", STREAMS.weights)
    training.fit(model, method, split, source(12), protocol, STREAMS)
    return list(model.net.state_dict().values())


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(first, second) for first, second in zip(one, other, strict=True))


@dataclass
class Keeps(Method):
    """Cross-entropy that keeps what it is handed."""

    name = "keeps"
    kind = "unguided"

    def setup(self, train: TrainingSplit) -> None:
        self.train = train
        self.seen: list[Batch] = []

    def loss(self, batch: Batch, out: Outputs) -> dict[str, torch.Tensor]:
        self.seen.append(batch)
        return {"loss": out.cross_entropy}


@pytest.mark.parametrize("count", [32, 33, 35])  # batches of 8: whole ones, a last one of one row, and of three
@pytest.mark.parametrize("name", sorted(FOUND))
def test_read_by_batch_or_held_in_memory_every_method_gives_the_same_weights(name: str, count: int) -> None:
    read, held = trained(FOUND[name](), source(count)), trained(FOUND[name](), source(count).in_memory())
    assert same(read, held)


def test_read_batches_are_the_rows_of_the_source() -> None:
    split = source(kind=Filled)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(0)).split(8)
    for rows, raw in zip(order, feeding.fed(split, order), strict=True):
        assert torch.equal(raw.rows, rows)
        assert (raw.images.numpy() == split.images.array[2 * rows.numpy()]).all()  # type: ignore[attr-defined]
        assert (raw.maps.numpy() == split.maps.array[2 * rows.numpy()]).all()  # type: ignore[attr-defined]
        assert torch.equal(raw.labels, split.labels[rows])
        assert torch.equal(raw.has_map, split.has_map[rows])


def test_only_maps_that_there_are_are_read() -> None:
    split = source()
    list(feeding.fed(split, torch.arange(35).split(8)))
    asked = [row for rows in split.maps.asked for row in rows]  # type: ignore[attr-defined]
    assert sorted(asked) == (2 * np.flatnonzero(split.has_map.numpy())).tolist()


def test_few_batches_are_read_ahead() -> None:
    split = source()
    batches = feeding.fed(split, torch.arange(32).split(2))
    for taken in range(1, 4):
        next(batches)
        assert len(split.images.asked) <= taken + feeding.AHEAD  # type: ignore[attr-defined]
    batches.close()


def test_a_split_in_memory_is_read_once_and_by_no_thread() -> None:
    split = source()
    held = split.in_memory()
    trained(Keeps(), held)
    assert split.images.asked == [list(range(0, 70, 2))]  # type: ignore[attr-defined]
    assert split.images.threads == {threading.current_thread().name}  # type: ignore[attr-defined]


def test_in_memory_there_are_maps_of_mapped_rows_alone() -> None:
    split = source().in_memory()
    assert len(split.maps) == int(split.has_map.sum()) + 1


def test_a_split_is_held_when_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    split = source()
    assert split.size == 35 * 32 * 32 + (18 + 1) * 32 * 32
    assert resident(split, split.size - 1) is split
    assert isinstance(resident(split, split.size), splits.SplitTensors)
    assert splits.room_for_rows(CPU) == splits.MEMORY_BYTES
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8_000, 80_000))
    assert splits.room_for_rows(torch.device("cuda:0"), slots=4) == 500


@pytest.mark.parametrize("row", [0, 2 * 34])
def test_what_reading_raises_ends_the_training_as_it_is(row: int) -> None:
    with pytest.raises(UserError, match="row is damaged; delete the folder"):
        trained(Keeps(), source(broken=row))


def test_reading_ends_with_the_training_however_that_ends() -> None:
    class Broken(Keeps):
        def loss(self, batch: Batch, out: Outputs) -> dict[str, torch.Tensor]:
            readers.update(thread for thread in threading.enumerate() if thread not in before)
            raise RuntimeError("broken method")

    before, readers = set(threading.enumerate()), set[threading.Thread]()
    with pytest.raises(RuntimeError, match="broken method") as caught:
        trained(Broken(), source())
    assert caught.tb
    assert readers
    assert not any(thread.is_alive() for thread in readers)
    trained(Keeps(), source())
    assert set(threading.enumerate()) <= before


def test_a_training_that_stopped_reading_in_an_epoch_goes_on_there() -> None:
    ways: list[list[torch.Tensor]] = []
    for stops in ((), (1, 3, 4, 5)):  # five steps an epoch
        model = backbones.build(TINY.backbone, TINY, 1, "two-logit", STREAMS.weights)
        one = Training(model, FOUND["cyborg"](), source(), source(12), TINY, STREAMS)
        while not one.has_ended:
            one.step()
            if one.done in stops:
                one.close()
        ways.append(list(model.net.state_dict().values()))
    assert same(*ways)


@pytest.mark.parametrize("held", [False, True])
def test_setup_is_handed_maps_by_row(held: bool) -> None:
    split = source()
    method = Keeps()
    trained(method, split.in_memory() if held else split)
    maps = method.train.maps
    assert len(maps) == 35
    assert tuple(maps.shape) == (35, 32, 32)
    expected = torch.from_numpy(split.maps.array[split.rows])  # type: ignore[attr-defined]
    rows = torch.tensor([3, 34, 0, 3])
    assert torch.equal(maps[rows], expected[rows])
    assert torch.equal(maps[method.train.has_map], expected[split.has_map])
    maps[rows].zero_()  # its own copy
    assert torch.equal(maps[rows], expected[rows])
    with pytest.raises(IndexError):
        maps[torch.tensor([35])]


ARITHMETIC: dict[str, Callable[[Any], object]] = {
    "a method of tensors": lambda maps: maps.float(),
    "division": lambda maps: maps / 255,
    "comparison": lambda maps: maps > 0,
    "a function of torch": lambda maps: torch.count_nonzero(maps),
    "in a tensor's arithmetic": lambda maps: torch.ones(1) * maps,
    "NumPy": lambda maps: np.asarray(maps),
    "iteration": lambda maps: list(maps),
    "a slice": lambda maps: maps[:3],
    "one row": lambda maps: maps[0],
}


@pytest.mark.parametrize("what", ARITHMETIC)
def test_what_needs_all_maps_at_once_is_refused_with_the_fix(what: str) -> None:
    maps = MapsByRow((35, 32, 32), source().maps_of)
    with pytest.raises((TypeError, AttributeError), match=r"train.maps is read by rows: take train.maps\[rows\]"):
        ARITHMETIC[what](maps)


def test_what_a_method_is_handed_leads_to_no_path_and_no_other_row(tmp_path: Path) -> None:
    drawn = specimens.draw_specimens("standin", 0)
    np.save(tmp_path / "maps.npy", drawn.maps)
    stored = Stored(np.load(tmp_path / "maps.npy", mmap_mode="r"))
    stored.path = tmp_path  # type: ignore[attr-defined]
    label, count = drawn.rows["label"].to_numpy(), specimens.TRAINED
    rows, mapped = np.arange(count), drawn.maps[:count].any((1, 2))
    split = SplitRows.of(Stored(drawn.images[:, None]), stored, rows, label[:count], mapped, CPU)
    handed = training.handed_split(split, torch.Generator())
    assert list(handover.leaks(handed, "train")) == []
    assert any("path" in leak for leak in handover.leaks(stored, "maps"))
    beyond = SplitRows.of(split.images, stored, np.arange(len(label)), label, np.ones(len(label), bool), CPU)
    found = list(handover.leaks(training.handed_split(beyond, torch.Generator()), "train"))
    assert "validation or test pixels (train.maps[rows])" in found


@pytest.mark.parametrize(
    ("donors", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), "a row of the training split for each of its rows"),
        (torch.full((35,), 35), "a row of the training split for each of its rows"),
        (torch.zeros(35), "a row of the training split for each of its rows"),
        (torch.full((35,), 2), "names a row that has no human map"),
    ],
)
@pytest.mark.parametrize("held", [False, True])
def test_donors_that_are_none_are_refused(held: bool, donors: torch.Tensor, message: str) -> None:
    class Exchanges(Keeps):
        def setup(self, train: TrainingSplit) -> None:
            train.donors = donors

    with pytest.raises(ValueError, match=message):
        trained(Exchanges(), source().in_memory() if held else source())


@pytest.mark.parametrize("held", [False, True])
def test_donors_give_their_maps_to_those_who_have_one(held: bool) -> None:
    donors = torch.full((35,), -1)
    donors[[2, 4]] = torch.tensor([0, 5])

    class Takes(Keeps):
        def setup(self, train: TrainingSplit) -> None:
            super().setup(train)
            train.donors = donors

    method, split = Takes(), source()
    trained(method, split.in_memory() if held else split)
    maps = torch.from_numpy(split.maps.array[split.rows])  # type: ignore[attr-defined]
    for batch in method.seen:
        assert torch.equal(batch.has_map, donors[batch.rows] >= 0)
        for row, found in zip(batch.rows.tolist(), batch.raw_maps, strict=True):
            assert torch.equal(found, maps[donors[row]] if donors[row] >= 0 else torch.zeros_like(found))


def test_validation_rows_are_read_by_chunk_and_score_as_from_memory() -> None:
    g = np.random.default_rng(1)
    images = g.integers(0, 255, (300, 1, 32, 32), dtype=np.uint8)
    labels, nothing = np.arange(300) % 2, np.zeros(300, bool)
    maps = np.zeros((300, 32, 32), np.uint8)
    split = SplitRows.of(Stored(images), Stored(maps), np.arange(300), labels, nothing, CPU)
    model = backbones.build(TINY.backbone, TINY, 1, "two-logit", 0)
    assert training.validation_scores(model, split, TINY) == training.validation_scores(model, split.in_memory(), TINY)
    asked = split.images.asked[:-1]  # type: ignore[attr-defined]
    assert [len(rows) for rows in asked] == [128, 128, 44]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked where there is fork")
def test_a_process_that_was_forked_reads_for_itself() -> None:
    split = source()
    expected = feeding.raw_batch(split, torch.arange(8)).images
    child = os.fork()
    if child == 0:
        equal = False
        try:
            equal = torch.equal(feeding.raw_batch(split, torch.arange(8)).images, expected)
        finally:
            os._exit(0 if equal else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
