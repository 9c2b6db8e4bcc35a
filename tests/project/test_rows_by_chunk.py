"""No split is ever read whole: whatever looks at trained networks asks for few rows of images and maps at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from counted_rows import CountedRows

from divsal_bench.auditing.one_run import audit_run
from divsal_bench.data.arrays import DataArrays
from divsal_bench.evaluation import predictions, verify
from divsal_bench.explanation import data_set, data_set_page
from divsal_bench.grid import planning, work
from divsal_bench.networks import backbones
from divsal_bench.networks.trained import load_model, protocol_of
from divsal_bench.prediction import loading
from divsal_bench.publish import gallery
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs.audit_record import AuditSettings
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.scores import scoring
from divsal_bench.studies import case, difference, imbalance, inputs
from divsal_bench.workflows.run_data import RunData

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)
#: Rows of one reading. The test split has 858, 400 of them with a human map; training has 560.
MOST = 128
#: Images that an audit, a study or a page looks at more closely.
FEW = 20


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    methods = tuple(method_choice.choose_methods("cyborg"))
    grid = planning.Grid(("cxr",), methods, (0,), tmp_path_factory.mktemp("runs"), TINY, data="standin")
    (job,) = planning.plan(grid)[0].jobs
    return read_run(work.execute(job))


@pytest.fixture(scope="module")
def whole(run: Run) -> DataArrays:
    return RunData(None).arrays(run)


@pytest.fixture
def data(whole: DataArrays, monkeypatch: pytest.MonkeyPatch) -> DataArrays:
    """The run's data, of which at most :data:`MOST` rows are given at once, and those of a split never."""
    monkeypatch.setattr(inputs, "ONE_PASS", 0)  # as if there were too many for it
    monkeypatch.setattr(case, "STEPS", (0, 3))
    counted = [CountedRows(array, MOST) for array in (whole.images, whole.maps)]
    return dataclasses.replace(whole, images=counted[0], maps=counted[1])  # type: ignore[arg-type]


def evaluated(run: Run, model: backbones.CamNet, data: DataArrays) -> object:
    return predictions.predictions(model, data, protocol_of(run)).to_csv()


def verified(run: Run, model: backbones.CamNet, data: DataArrays) -> object:
    table, scores = run.predictions(), run.record.scores
    assert scores is not None
    claimed = dict(zip(table["sample_id"], scoring.margins(table), strict=True))
    return verify.compare_with_weights(run, model, data, (), scores, claimed)


def audited(run: Run, model: backbones.CamNet, data: DataArrays) -> object:
    found = audit_run(run, model, data, AuditSettings(images=FEW, steps=4))
    return found.model_copy(update={"seconds": 0.0})


def explained(run: Run, model: backbones.CamNet, data: DataArrays) -> object:
    network = loading.pretrained_in(run.path, "")
    positions = data_set.positions_to_explain(data, "test", None, "standin", network.class_names)
    found = data_set.overview(network, data, positions, "test")
    return data_set_page.render_report(found, data, None, data_set_page.report_heading(network))


def shown(run: Run, model: backbones.CamNet, data: DataArrays) -> object:
    pictures = gallery.pictures(data, None, str).shown
    samples = data.rows.loc[data.rows["split"] == "test", "sample_id"].astype(str).tolist()
    maps = gallery.cams_of_samples(run, data, samples)
    return [(one.sample_id, one.image) for one in pictures], [one.tolist() for one in maps.values()]


def of_test(run: Run, data: DataArrays) -> inputs.Inputs:
    return inputs.split_inputs(data, protocol_of(run), "test")


def studied_imbalance(run: Run, model: backbones.CamNet, data: DataArrays) -> object:
    thinned = data.rows["label"].to_numpy(copy=True)
    thinned[np.flatnonzero(data.rows["split"] == "train")[:300]] = 0
    return imbalance.imbalance_numbers(run, model, dataclasses.replace(data, rows=data.rows.assign(label=thinned)))


def studied_classes(run: Run, model: backbones.CamNet, data: DataArrays) -> object:
    test = of_test(run, data)
    return case.class_map_numbers(model, test, test.labels, data.fingerprint, FEW, 5.0, 50.0)


def studied_heads(run: Run, model: backbones.CamNet, data: DataArrays) -> object:
    train = inputs.split_inputs(data, protocol_of(run), "train")
    return case.train_new_head(model, train, of_test(run, data), seed=0)


CONSUMERS: dict[str, Callable[[Run, backbones.CamNet, DataArrays], object]] = {
    "evaluation": evaluated,
    "verify": verified,
    "audit": audited,
    "explain --set": explained,
    "gallery": shown,
    "study difference": lambda run, model, data: difference.difference_numbers(run, model, data, FEW),
    "study imbalance": studied_imbalance,
    "study case: classes": studied_classes,
    "study case: angle": lambda run, model, data: case.case_at_angle(model, of_test(run, data)),
    "study case: new head": studied_heads,
}


@pytest.mark.parametrize("name", list(CONSUMERS))
def test_rows_are_read_few_at_a_time_and_say_what_they_said_together(
    name: str, run: Run, whole: DataArrays, data: DataArrays
) -> None:
    found = CONSUMERS[name](run, load_model(run), data)
    assert len(data.images.read) > MOST, "hardly anything was read: this says nothing"  # type: ignore[attr-defined]
    together = CONSUMERS[name](run, load_model(run), whole)
    assert repr(found) == repr(together)


def test_what_reads_a_split_at_once_is_caught(data: DataArrays) -> None:
    rows = np.flatnonzero(data.rows["split"] == "test")
    for read in (lambda: data.images[rows], lambda: data.maps[:], lambda: np.asarray(data.images)):
        with pytest.raises(AssertionError, match="at once"):
            read()


@pytest.mark.parametrize(("side", "chunk"), [(64, 500), (299, 128)])
def test_a_study_takes_few_small_images_at_once_and_large_ones_by_chunk(side: int, chunk: int) -> None:
    """What bounds its memory is pixels: those of a study's stand-in go in one pass, as its numbers were made."""
    pixels = CountedRows(np.zeros((500, 1, side, side), np.uint8), chunk)
    stored = inputs.ChosenRows(pixels, np.arange(500))
    form = inputs.form_of(dataclasses.replace(TINY, input_size=side))
    assert max(len(batch) for batch in inputs.StoredInputs(stored, form).passes()) == chunk
