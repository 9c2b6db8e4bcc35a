"""Which accelerators there are is what the scheduler says; what is not there is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import divsal_bench
from divsal_bench.errors import UserError
from divsal_bench.networks import accelerators, devices

pytestmark = pytest.mark.fast


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str | None], None]:
    """A machine with some CUDA devices, and what its scheduler left of them."""

    def build(count: int, visible: str | None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.delenv(accelerators.VISIBLE, raising=False)
        if visible is not None:
            monkeypatch.setenv(accelerators.VISIBLE, visible)

    return build


@pytest.mark.parametrize(
    ("count", "visible", "found"),
    [
        (2, None, ["0", "1"]),
        (0, None, []),
        (1, "5,3", ["5", "3"]),  # the count is not asked
        (1, "GPU-0a-1, MIG-GPU-0b/7/0,MIG-0c", ["GPU-0a-1", "MIG-GPU-0b/7/0", "MIG-0c"]),
        (2, "", []),
        (2, "-1", []),
        (2, "0,-1,1", ["0"]),
        (2, "NoDevFiles", []),
    ],
)
def test_the_list_is_the_schedulers_where_there_is_one(
    machine: Callable[[int, str | None], None], count: int, visible: str | None, found: list[str]
) -> None:
    machine(count, visible)
    assert accelerators.cuda_identifiers() == found


def test_places_are_numbered_within_that_list_and_spread_over_devices_first(
    machine: Callable[[int, str | None], None],
) -> None:
    machine(2, "6,GPU-b")
    inside, places = accelerators.device_places("cuda:1,cuda:0", 2)
    assert inside == "cuda"
    assert [(place.number, place.name, place.environment[accelerators.VISIBLE]) for place in places] == [
        (0, "cuda:1, slot 1 of 2", "GPU-b"), (1, "cuda:0, slot 1 of 2", "6"),
        (2, "cuda:1, slot 2 of 2", "GPU-b"), (3, "cuda:0, slot 2 of 2", "6"),
    ]  # fmt: skip
    assert {place.environment[devices.SLOTS] for place in places} == {"2"}
    assert accelerators.device_places("cuda", 1)[1] == accelerators.device_places("cuda:0,cuda:1", 1)[1]


@pytest.mark.parametrize(
    ("count", "visible", "named", "slots", "message"),
    [
        (2, "4,5", "cuda:2", 1, "--devices names cuda:2, but CUDA_VISIBLE_DEVICES is '4,5', which makes 2 CUDA"),
        (1, None, "cuda:0,cuda:7", 1, "--devices names cuda:7, but this machine has 1 CUDA device; choose among"),
        (0, None, "cuda", 1, "--devices names cuda, but this machine has no CUDA device; take --device cpu"),
        (2, "-1", "cuda:0", 1, "--devices names cuda:0, but CUDA_VISIBLE_DEVICES is '-1', which makes no CUDA device"),
        (2, "1,1", "cuda:0", 1, "CUDA_VISIBLE_DEVICES is '1,1' and names a device twice"),
        (2, None, "cuda:0,cuda:0", 1, "--devices names cuda:0 twice; --slots is how many"),
        (2, None, "cuda,cuda:1", 1, "--devices names cuda:1 twice"),
        (2, None, "cpu", 1, "--devices takes cuda (all that there are), cuda:0, cuda:1 …, or mps, not 'cpu'"),
        (2, None, "cuda:one", 1, "--devices takes cuda (all"),
        (2, None, " , ", 1, "--devices names no device"),
        (2, None, "cuda:0", 0, "--slots must be 1 or more, not 0"),
        (0, "0", "cuda:0", 1, "device 'cuda' is not available here"),
        (0, None, "mps", 1, "device 'mps' is not available here"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused(
    machine: Callable[[int, str | None], None],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    visible: str | None,
    named: str,
    slots: int,
    message: str,
) -> None:
    machine(count, visible)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError) as caught:
        accelerators.device_places(named, slots)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"slots": 2}, "--slots divides devices; name them with --devices"),
        ({"devices": "cuda:0", "device": "cuda"}, "--device cuda and --devices contradict each other"),
        (
            {"devices": ["cuda:0", "cuda:1"], "slots": 3, "workers": 4},
            "--workers 4 contradicts --devices and --slots",
        ),
        ({"devices": 1}, "devices takes a name, several, or one text with commas, not 1"),
        ({"devices": "cuda", "slots": "two"}, "slots takes a whole number, not 'two'"),
        ({"device": "cuda:2"}, "device 'cuda:2' is not available here"),
        ({"stall_minutes": 0}, "--stall-minutes must be a number of minutes above 0, not 0"),
        ({"stall_minutes": float("nan")}, "--stall-minutes must be a number of minutes above 0, not nan"),
        ({"stall_minutes": "long"}, "stall_minutes takes a number, not 'long'"),
    ],
)
def test_what_contradicts_itself_is_refused_before_any_work(
    machine: Callable[[int, str | None], None], tmp_path: Path, asked: dict[str, object], message: str
) -> None:
    machine(2, None)
    with pytest.raises(UserError) as caught:
        divsal_bench.run("cxr", "cyborg", seeds=1, data="standin", out=tmp_path / "out", **asked)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "out").exists()


def test_a_plan_names_the_devices(machine: Callable[[int, str | None], None], tmp_path: Path) -> None:
    from divsal_bench.workflows.running import plan_runs

    machine(2, None)
    said: list[str] = []
    plan = plan_runs(
        "cxr", "cyborg", seeds=1, data="standin", out=tmp_path / "out", devices="cuda", slots=3, say=said.append
    )
    assert plan.workers == len(plan.places) == 6
    assert plan.tasks[0].jobs[0].device == "cuda"
    assert "devices cuda:0, cuda:1, 6 workers" in said[1]


def test_workers_on_one_accelerator_share_it_as_slots(
    machine: Callable[[int, str | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = accelerators.places_for_workers(2, "cuda:1", 1)
    assert [(place.device, place.name, place.environment) for place in places] == [
        ("cuda:1", f"slot {number} of 2", {devices.SLOTS: "2"}) for number in (1, 2)
    ]
    monkeypatch.delenv(devices.SLOTS, raising=False)
    assert devices.slots_here() == 1
    monkeypatch.setenv(devices.SLOTS, "2")
    assert devices.slots_here() == 2
