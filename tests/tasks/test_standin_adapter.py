import numpy as np
import pytest

from divsal_bench.data import arrays, catalogue
from divsal_bench.data.check import check_data_set
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.errors import UserError
from divsal_bench.tasks.adapters.standin import ADAPTER

pytestmark = pytest.mark.fast


def test_what_is_drawn_is_what_is_written(task, tmp_path, home):
    drawn = task.draw_standin("standin:null", 3)
    out = prepare_data_set(task, ADAPTER, None, tmp_path / "out", {"variant": "standin:null", "seed": "3"}).path
    assert check_data_set(out).ok
    loaded = arrays.load_arrays(task, catalogue.resolve(task, str(out)), 16)
    order = drawn.rows.set_index("sample_id").index.get_indexer(loaded.rows["sample_id"])
    assert (loaded.images[:, 0] == drawn.images[order]).all()
    assert (loaded.maps == drawn.maps[order]).all()
    columns = list(drawn.rows.columns)
    assert (loaded.rows[columns].to_numpy() == drawn.rows.iloc[order][columns].to_numpy()).all()
    assert (loaded.rows["has_map"].to_numpy() == np.array(drawn.rows["saliency_kind"] == "mask")[order]).all()
    assert catalogue.resolve(task, str(out)).info.sources["drawn"].redistribute_images == "yes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "oracle"}, "unknown variant 'oracle'. Did you mean 'standin:oracle'"),
        ({"seed": "-1"}, "seed is '-1'"),
        ({"sede": "1"}, "Did you mean 'seed'"),
    ],
)
def test_bad_options(task, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        prepare_data_set(task, ADAPTER, None, tmp_path / "out", options)
