"""The picture of a model card: the same bytes for the same maps, and a caption that says what they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from divsal_bench.publish.example import Example, example_figure

pytestmark = pytest.mark.fast


def example(label: int, human: np.ndarray | None) -> Example:
    random = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (48, 48), np.uint8)).save(file, "PNG")
    cams = random.normal(size=(2, 8, 8)).astype(np.float32)
    return Example(file.getvalue(), human, label, cams, "film, CC BY 4.0", "A test image (unseen clinic, ")


@pytest.mark.parametrize("label", [0, 1])
def test_the_caption_tells_class_origin_and_the_mean_difference(label: int) -> None:
    shown = example(label, np.eye(8))
    _, caption = example_figure(shown, ("normal", "abnormal"), 3)
    assert caption.startswith(f"A test image (unseen clinic, {('normal', 'abnormal')[label]}; film, CC BY 4.0), chosen")
    assert "Maps of seed 3" in caption
    assert f"{(shown.cams[label] - shown.cams[1 - label]).mean():+.3f}" in caption


def test_the_figure_is_the_same_again_and_another_without_a_human_map() -> None:
    names = ("normal", "abnormal")
    with_map, again = (example_figure(example(1, np.eye(8)), names, 0)[0] for _ in range(2))
    without = example_figure(example(1, None), names, 0)[0]
    assert with_map == again != without
    sizes = {Image.open(io.BytesIO(png)).size for png in (with_map, without)}
    assert len(sizes) == 1
