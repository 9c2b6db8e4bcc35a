"""``divsal-bench check`` of a task: each broken promise of a task and its stand-in has its own message."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from divsal_bench.cli import main

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
GOOD = re.findall(r"<!-- task-example -->\n```python\n(.*?)```", CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL)[0]
FINISH = "    return drawing.finish(rows, drawing.to_uint8(images), dot > 0.5, positive)"
NOT_TEST = 'edge = np.where(rows["split"] == "test", positive, edge)'

BROKEN = {
    "taken name": ('name="dots"', 'name="cxr"', "contract: the name 'cxr' is taken by another task"),
    "version": ("    version=1", '    version="1"', "contract: version is '1'; write 1"),
    "one class": ('("absent", "present")', '("dot", "Dot")', "contract: class_names is ('dot', 'Dot')"),
    "channels": ("channels=1", "channels=2", "contract: channels is 2; write 1 for grey or 3 for RGB"),
    "metric": ('("eer", "ap")', '("eer", "auc")', "contract: field_metrics names 'auc', which is not computed"),
    "no title": ('title="Dots"', 'title=" "', "contract: title is empty"),
    "the engine": (
        "import numpy as np\n",
        "import numpy as np\nfrom divsal_bench.scores import metrics\n",
        "imports: dots.py line 6 imports divsal_bench.scores; a plugin may import",
    ),
    "raises": (
        FINISH,
        "    raise ValueError('no pen')",
        "stand-in: schema: raised ValueError: no pen (dots.py line 31)",
    ),
    "no stand-in": (FINISH, "    return rows", "stand-in: schema: draw_standin returned DataFrame"),
    "floats": ("drawing.to_uint8(images)", "images", "stand-in: schema: images are float32 of shape (930, 64, 64)"),
    "colour": (
        "channels=1",
        "channels=3",
        "stand-in: schema: images are uint8 of shape (930, 64, 64); they must be uint8",
    ),
    "column": (
        FINISH,
        FINISH.replace("rows", "rows.drop(columns='subject')"),
        "stand-in: schema: rows has no column subject",
    ),
    "sample ids": (FINISH, f"    rows['sample_id'] = 'one'\n{FINISH}", "stand-in: schema: a sample_id occurs twice"),
    "split": (FINISH, f"    rows['split'] = 'val'\n{FINISH}", "stand-in: schema: split holds ['val']"),
    "category": (FINISH, f"    rows['category'] = 'dot'\n{FINISH}", "stand-in: schema: category must be ''"),
    "subject": (FINISH, f"    rows['subject'] = 'one'\n{FINISH}", "stand-in: splits: subject 'one' is in 3 splits"),
    "copies": (FINISH, f"    images[:] = 0.5\n{FINISH}", "stand-in: splits: the image of 'dots-0480' is in two splits"),
    "whole maps": ("dot > 0.5, positive", "dot > -1, positive", "stand-in: maps: 440 maps mark the whole image"),
    "no maps": ("dot > 0.5, positive", "dot > 2, positive", "stand-in: maps: training and test rows need some maps"),
    "empty maps": (
        FINISH,
        "    return StandIn(rows.assign(saliency_kind='mask'), drawing.to_uint8(images), np.uint8(255) * (dot > 0.5))",
        "stand-in: maps: 490 rows, among them 'dots-0000', have an empty map called mask",
    ),
    "no category": ("100, 50, 50)", "100, 50, 0)", "stand-in: conditions: test rows need all of"),
    "few rows": (
        '"camera-b", 50, 50',
        '"camera-b", 50, 30',
        "stand-in: conditions: condition camera-b has 30 rows of one class",
    ),
    "few negatives": (
        '"validation", "camera-a", 100',
        '"validation", "camera-a", 60',
        "stand-in: conditions: 60 negatives in validation",
    ),
    "unseeded": (
        'drawing.named_stream("dots", seed, "clouds")',
        "np.random.default_rng()",
        "stand-in: deterministic: drawing twice",
    ),
    "one seed": ('"dots", seed, ', '"dots", 0, ', "stand-in: deterministic: another seed draws the same images"),
    "oracle as plain": (
        "rows, variant,",
        'rows, "standin",',
        "stand-in: variants: standin:oracle has the training images",
    ),
    "oracle elsewhere": (
        'seed, "clouds"',
        "seed, variant",
        "stand-in: variants: standin:oracle has other validation or test",
    ),
    "other maps": ('seed, "places"', "seed, variant", "stand-in: variants: standin:oracle has other rows or maps"),
    "null as plain": (
        'variant != "standin:null"',
        "True",
        "stand-in: variants: standin:null has the images of standin",
    ),
    "weak shortcut": (
        "agreement=0.97",
        "agreement=0.6",
        "stand-in: shortcut: standin: the shortcut tells the validation labels",
    ),
    "shortcut holds": (
        "    if variant !=",
        f"    {NOT_TEST}\n    if variant !=",
        "stand-in: shortcut: standin: in the unseen condition camera-b",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_promise_is_named_with_the_fix(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, message = BROKEN[case]
    assert old in GOOD, "CONTRIBUTING.md has changed: mend this test"
    file = tmp_path / "dots.py"
    file.write_text(GOOD.replace(old, new), encoding="utf-8")
    assert main(["check", str(file)]) == 1
    captured = capsys.readouterr()
    failed = [line for line in captured.out.splitlines() if line.startswith("FAILED: ")]
    assert any(line.startswith(f"FAILED: {message}") for line in failed), failed
    assert "Traceback" not in captured.err
    assert "short run" not in captured.out
