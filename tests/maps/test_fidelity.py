"""Fidelity: against a loop over single images, and against scores whose evidence is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from drawn_evidence import images, network
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from divsal_bench.maps import closed_form, covering, fidelity
from divsal_bench.maps.covering import margin_score, on_pixels
from divsal_bench.maps.evidence import gather
from divsal_bench.maps.fidelity import CONTROLS, Fidelity

pytestmark = pytest.mark.fast

IDS = [f"sample-{i}" for i in range(40)]
LABELS = np.arange(40) % 2


def planted(weights: np.ndarray) -> covering.Score:
    """A score that is linear in the pixels, weights (S, S)."""

    def score(pictures: Tensor) -> np.ndarray:
        return (pictures.double().numpy()[:, 0] * weights).sum((1, 2))

    return score


def corner(side: int = 32) -> np.ndarray:
    """All evidence lies in the top right quarter: rows first, so that a transposed mask misses it."""
    weights = np.zeros((side, side))
    weights[:8, 24:] = 1 / 64
    return weights


def signed_images(count: int = 40) -> Tensor:
    """Bright for positives, dark for negatives, with a little noise."""
    g = torch.Generator().manual_seed(0)
    sign = torch.from_numpy(LABELS[:count] * 2.0 - 1).float()[:, None, None, None]
    return sign * (1 + 0.1 * torch.rand(count, 1, 32, 32, generator=g))


def marks(where: tuple[slice, slice], count: int = 40) -> np.ndarray:
    drawn = np.zeros((count, 4, 4))
    drawn[:, where[0], where[1]] = 1
    return drawn


RIGHT, WRONG = marks((slice(0, 1), slice(3, 4))), marks((slice(3, 4), slice(0, 1)))


def run(maps: dict[str, np.ndarray], count: int = 200, **options: object) -> Fidelity:
    score, pictures = planted(corner()), signed_images()
    return fidelity.measure_fidelity(
        score, pictures, maps, LABELS, score(pictures), IDS, "fingerprint", count=count, **options  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_map_that_marks_the_evidence_beats_the_controls_and_its_transpose_does_not() -> None:
    found = run({"right": RIGHT, "transposed": WRONG}, k=100 / 16)
    assert set(found.scores) == {"right", "transposed", *CONTROLS}
    assert (found.cells, found.steps, len(found.rows)) == (1, 16, 40)
    right, transposed = found.scores["right"], found.scores["transposed"]
    # All evidence gone at the first of 16 cells: half a step is left under the curve, and probability falls to ½.
    margins = np.abs(planted(corner())(signed_images()))
    np.testing.assert_allclose(right["deletion_margin"], margins / 32)
    np.testing.assert_allclose(right["insertion_margin"], margins * 31 / 32)
    confidence = 1 / (1 + np.exp(-margins))
    np.testing.assert_allclose(right["drop"], (confidence - 0.5) / confidence)
    assert (transposed["drop"] == 0).all()
    for control in CONTROLS:
        assert found.scores[control]["deletion_margin"].mean() > 3 * right["deletion_margin"].mean()
        assert found.scores[control]["insertion_margin"].mean() < right["insertion_margin"].mean()
    assert found.scores["random"]["deletion_margin"].mean() == pytest.approx(margins.mean() / 2, rel=0.2)


def slow_curves(
    score: covering.Score, image: Tensor, order: Sequence[int], grid: tuple[int, int], counts: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Deletion and insertion of one image, cell by cell, with slices."""
    deletion, insertion = [], []
    tall, wide = image.shape[1] // grid[0], image.shape[2] // grid[1]
    for count in counts:
        deleted, inserted = image.clone(), torch.zeros_like(image)
        for cell in order[:count]:
            y, x = divmod(cell, grid[1])
            window = (slice(None), slice(y * tall, (y + 1) * tall), slice(x * wide, (x + 1) * wide))
            deleted[window] = 0
            inserted[window] = image[window]
        deletion.append(float(score(deleted[None])[0]))
        insertion.append(float(score(inserted[None])[0]))
    return deletion, insertion


@pytest.mark.parametrize("steps", [4, 16, 100])
def test_curves_of_a_real_network_equal_a_loop_over_cells(steps: int) -> None:
    model, pictures = network(), images(5)
    score = margin_score(model)
    margins = score(pictures)
    labels = (margins >= 0).astype(int)
    drawn = closed_form.true_cam(gather(model, pictures), torch.from_numpy(labels)).values.numpy()
    found = fidelity.measure_fidelity(
        score, pictures, {"true": drawn}, labels, margins, IDS[:5], "f", k=25, steps=steps
    )
    assert found.steps == min(steps, 16)
    counts = fidelity.steps_of(steps, (4, 4)).tolist()
    for i in range(5):
        sign = 1 if labels[i] else -1
        order = np.argsort(-drawn[i].ravel(), kind="stable").tolist()
        deletion, insertion = (sign * np.array(one) for one in slow_curves(score, pictures[i], order, (4, 4), counts))
        for name, curve in (("deletion", deletion), ("insertion", insertion)):
            share = np.array(counts) / 16
            probability = np.trapezoid(1 / (1 + np.exp(-curve)), share)
            assert found.scores["true"][f"{name}_margin"][i] == pytest.approx(np.trapezoid(curve, share), abs=1e-4)
            assert found.scores["true"][f"{name}_probability"][i] == pytest.approx(probability, abs=1e-4)
        left = slow_curves(score, pictures[i], order, (4, 4), [4])[0][0]
        before, after = (1 / (1 + math.exp(-sign * margin)) for margin in (margins[i], left))
        assert found.scores["true"]["drop"][i] == pytest.approx(max(before - after, 0) / before, abs=1e-4)


def test_only_correctly_classified_images_with_defined_maps_are_used() -> None:
    score, pictures = planted(corner()), signed_images()
    labels = LABELS.copy()
    labels[:6] = 1 - labels[:6]
    usable = np.arange(40) >= 10
    found = fidelity.measure_fidelity(score, pictures, {"m": RIGHT}, labels, score(pictures), IDS, "f", usable=usable)
    assert found.rows.tolist() == list(range(10, 40))
    assert (found.total, found.correct, found.eligible) == (40, 34, 30)
    assert found.note.startswith("30 of 30 correctly classified images with defined maps (40 in all)")


def test_no_image_is_an_empty_result_and_one_class_is_enough() -> None:
    score, pictures = planted(corner()), signed_images()
    none = fidelity.measure_fidelity(score, pictures, {"m": RIGHT}, 1 - LABELS, score(pictures), IDS, "f")
    assert len(none.rows) == none.correct == 0
    assert all(len(values) == 0 for columns in none.scores.values() for values in columns.values())
    positives = np.flatnonzero(LABELS)
    one = fidelity.measure_fidelity(
        score, pictures[positives], {"m": RIGHT[positives]}, LABELS[positives], score(pictures[positives]),
        [IDS[i] for i in positives], "f",
    )  # fmt: skip
    assert len(one.rows) == 20


@given(st.permutations(range(40)))
@settings(max_examples=5, deadline=None)
def test_choices_follow_the_sample_and_not_its_place(order: list[int]) -> None:
    g = np.random.default_rng(0)
    drawn = g.integers(0, 2, (40, 4, 4)).astype(float)  # full of ties
    score, pictures = planted(corner()), signed_images()
    first = run({"m": drawn}, count=15)
    again = fidelity.measure_fidelity(
        score, pictures[order], {"m": drawn[order]}, LABELS[order], score(pictures[order]), [IDS[i] for i in order],
        "fingerprint", count=15,
    )  # fmt: skip
    by_id = {IDS[order[row]]: i for i, row in enumerate(again.rows)}
    assert set(by_id) == {IDS[row] for row in first.rows}
    places = [by_id[IDS[row]] for row in first.rows]
    for name, columns in first.scores.items():
        for column, values in columns.items():
            np.testing.assert_array_equal(values, again.scores[name][column][places])


def test_another_network_meets_the_same_images_and_controls_and_another_fingerprint_does_not() -> None:
    eligible = np.ones(40, bool)
    fewer = eligible.copy()
    fewer[::7] = False
    full, part = (fidelity.choose_images(IDS, one, 20, "f") for one in (eligible, fewer))
    assert set(full[fewer[full]]) <= set(part)
    assert set(full) != set(fidelity.choose_images(IDS, eligible, 20, "other"))
    assert not np.array_equal(fidelity.uniform("f", IDS[0], (4, 4)), fidelity.uniform("other", IDS[0], (4, 4)))
    assert not np.array_equal(fidelity.uniform("f", IDS[0], (4, 4)), fidelity.uniform("f", IDS[1], (4, 4)))
    one, other = run({"m": RIGHT}), run({"m": WRONG})
    for control in CONTROLS:
        for column in fidelity.COLUMNS:
            np.testing.assert_array_equal(one.scores[control][column], other.scores[control][column])
    assert set(one.scores["m"]) == set(fidelity.COLUMNS)


def test_the_centre_control_covers_the_middle_first_and_breaks_its_ties_by_lot() -> None:
    blob = fidelity.centred((4, 6))
    np.testing.assert_array_equal(blob, blob[::-1])
    np.testing.assert_array_equal(blob, blob[:, ::-1])
    ties = np.stack([fidelity.uniform("f", sample, (4, 4)) for sample in IDS])
    order = fidelity.descending(np.broadcast_to(fidelity.centred((4, 4)), (40, 4, 4)), ties)
    assert all(set(one[:4]) == {5, 6, 9, 10} for one in order)
    assert len({tuple(one[:4]) for one in order}) > 5


@pytest.mark.parametrize("side", [32, 30, 7, 4])
def test_cells_become_blocks_of_pixels(side: int) -> None:
    cells = torch.arange(16).view(4, 4)
    blocks = on_pixels(cells, (side, side))
    for y in range(side):
        for x in range(side):
            assert blocks[y, x] == cells[y * 4 // side, x * 4 // side]


def test_blur_keeps_a_plain_image_and_hides_what_a_cell_shows() -> None:
    plain = torch.full((2, 3, 32, 32), 0.7)
    torch.testing.assert_close(covering.covered(plain, "blur", (4, 4)), plain)
    detail = torch.zeros(1, 1, 32, 32)
    detail[0, 0, 12:20, 12:20] = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    assert covering.covered(detail, "blur", (4, 4)).std() < 0.1 * detail.std()
    assert torch.equal(covering.covered(detail, "mean", (4, 4)), torch.zeros_like(detail))
    tall = covering.covered(torch.randn(1, 1, 32, 48), "blur", (4, 6))
    assert tall.shape == (1, 1, 32, 48)


def test_blur_is_a_choice_of_the_curves_alone() -> None:
    mean, blur = run({"m": RIGHT}), run({"m": RIGHT}, cover="blur")
    np.testing.assert_array_equal(mean.scores["m"]["drop"], blur.scores["m"]["drop"])
    assert not np.allclose(mean.scores["m"]["deletion_margin"], blur.scores["m"]["deletion_margin"])


def test_the_batch_size_changes_nothing() -> None:
    model, pictures = network(), images(7)
    score = margin_score(model)
    order = np.stack([np.random.default_rng(i).permutation(16) for i in range(7)])
    counts = np.array([1, 5, 9])
    one, many = (fidelity.score_covered(score, pictures, order, (4, 4), counts, "blur", size) for size in (1, 256))
    np.testing.assert_allclose(one, many, atol=1e-4)


def test_margins_of_a_network_are_its_logit_difference() -> None:
    model = network()
    expected = gather(model, images()).margin.double().numpy()
    np.testing.assert_allclose(margin_score(model, batch_size=4)(images()), expected, atol=1e-5)
    assert margin_score(model)(images()[:0]).shape == (0,)


def test_arguments_out_of_range_are_refused() -> None:
    for options in ({"k": 0}, {"k": 101}, {"steps": 0}, {"count": -1}):
        with pytest.raises(ValueError, match="k must lie"):
            run({"m": RIGHT}, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not named random or centre"):
        run({"random": RIGHT})
    with pytest.raises(ValueError, match="maps on the grids"):
        run({"a": RIGHT, "b": RIGHT[:, :2]})
