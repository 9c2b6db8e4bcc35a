"""The analytic attack: every class CAM goes where it is sent, and no decision notices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_evidence import evidence, images, many_logits, network
from hypothesis import given, settings
from hypothesis import strategies as st

from divsal_bench.errors import UserError
from divsal_bench.maps import closed_form, fooling
from divsal_bench.maps.evidence import gather

pytestmark = pytest.mark.fast

LABELS = torch.tensor([0, 1, 1, 0])


@given(st.integers(0, 300), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_the_attack_moves_the_true_cam_and_nothing_that_decides(seed: int, classes: int) -> None:
    one = evidence("two-logit" if classes == 2 else "many-logit", classes, seed, channels=8, grid=(5, 5))
    target = fooling.border((5, 5))
    after = fooling.add_to_rows(one, fooling.attack(one, LABELS, target))
    found = fooling.fooled(one, after, LABELS, target)
    assert found.decisions_changed == 0
    assert found.margin_error < 1e-9
    np.testing.assert_allclose(found.columns["difference"]["likeness"], 1)
    np.testing.assert_allclose(found.columns["difference"]["pe_after"], found.columns["difference"]["pe_before"])
    before, moved = (closed_form.true_cam(x, LABELS).values for x in (one, after))
    wanted = 10 * before.square().mean().sqrt() * target
    assert (moved - wanted).square().sum() < (before - wanted).square().sum()


def test_u_is_the_least_squares_answer() -> None:
    one = evidence(batch=70, channels=6)
    labels = torch.arange(70) % 2
    target = torch.rand(70, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    old = closed_form.true_cam(one, labels).values
    columns = one.features.permute(0, 2, 3, 1).reshape(-1, 6)
    missing = (3 * old.square().mean().sqrt() * target - old).reshape(-1, 1)
    plain = torch.linalg.lstsq(columns, missing).solution[:, 0]
    torch.testing.assert_close(
        fooling.attack(one, labels, target, strength=3, ridge=1e-12), plain, rtol=1e-6, atol=1e-8
    )


def test_a_real_network_with_its_rows_changed_decides_the_same_and_shows_the_border() -> None:
    model, pictures = network(), images(4)
    one = gather(model, pictures)
    target = fooling.border(one.grid)
    u = fooling.attack(one, LABELS, target)
    predicted = fooling.add_to_rows(one, u)
    with torch.no_grad():
        model.net.get_classifier().weight.add_(u.float())  # type: ignore[operator]
    real = gather(model, pictures)
    torch.testing.assert_close(real.logits, predicted.logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(real.margin, one.margin, rtol=1e-3, atol=1e-3)
    found = fooling.fooled(one, real, LABELS, target)
    assert found.decisions_changed == 0
    assert found.margin_error < 1e-3
    np.testing.assert_allclose(found.columns["difference"]["likeness"], 1, atol=1e-4)
    true = found.columns["true"]
    assert (true["likeness"] < 0.9).any()
    assert true["pe_after"].mean() > true["pe_before"].mean()


def test_the_vector_also_works_on_images_it_was_not_made_with() -> None:
    torch.manual_seed(0)
    net = many_logits(2)
    seen, unseen = gather(net, images(30, 1)), gather(net, images(30, 2))
    labels = torch.arange(30) % 2
    target = fooling.border(seen.grid)
    after = fooling.add_to_rows(unseen, fooling.attack(seen, labels, target))
    found = fooling.fooled(unseen, after, labels, target)
    assert found.columns["true"]["pe_after"].mean() > found.columns["true"]["pe_before"].mean()
    assert found.decisions_changed == 0


def test_features_that_can_draw_the_target_draw_it() -> None:
    one = evidence(channels=12, batch=2, grid=(3, 4))
    one.features[:, :] = torch.eye(12, dtype=torch.float64).reshape(12, 3, 4)
    target = fooling.border((3, 4))
    after = fooling.add_to_rows(one, fooling.attack(one, LABELS[:2], target, ridge=1e-9))
    found = fooling.fooled(one, after, LABELS[:2], target)
    assert found.columns["true"]["pe_after"].mean() > 0.9


def test_dead_features_cannot_be_moved() -> None:
    one = evidence()
    one.features.zero_()
    assert torch.equal(fooling.attack(one, LABELS, fooling.border((3, 4))), torch.zeros(5, dtype=torch.float64))


def test_one_logit_heads_and_empty_sets_are_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match="undefined for a one-logit head: its rows are ±½w"):
        fooling.attack(evidence("one-logit"), LABELS, fooling.border((3, 4)))
    with pytest.raises(UserError, match="at least one image"):
        fooling.attack(evidence(batch=0), LABELS[:0], fooling.border((3, 4)))


def test_the_border_is_the_outermost_ring() -> None:
    assert fooling.border((7, 7)).sum() == 24
    assert fooling.border((3, 4)).tolist() == [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]


def test_likeness_is_pearsons() -> None:
    g = np.random.default_rng(0)
    a, b = g.normal(size=(2, 5, 3, 3))
    expected = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(fooling.correlation(a, b), expected)
    assert np.isnan(fooling.correlation(np.ones((1, 2, 2)), a[:1, :2, :2])).all()
