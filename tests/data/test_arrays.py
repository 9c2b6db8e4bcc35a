import dataclasses
import functools
import os
import pickle
import resource
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from divsal_bench.data import arrays, canonical, catalogue, decoding, drawn
from divsal_bench.data.arrays import load_arrays, open_cached
from divsal_bench.data.fingerprint import pixel_hash
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.errors import UserError
from divsal_bench.registry import plugins
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER


@pytest.fixture
def no_decoding(monkeypatch):
    def stop(*_):
        raise AssertionError("decoded again")

    return lambda: monkeypatch.setattr(decoding, "decode_image", stop)


def test_pixels_are_those_of_the_files(task, delivered, ready):
    source = catalogue.resolve(task, None)
    done = []
    data = load_arrays(task, source, 8, progress=lambda *numbers: done.append(numbers))
    assert done[-1] == (16, 16)
    assert data.images.shape == (16, 1, 8, 8)
    assert data.maps.shape == (16, 8, 8)
    assert data.images.dtype == data.maps.dtype == np.uint8
    assert data.images[:].flags.writeable
    assert data.fingerprint == source.fingerprint == source.info.fingerprint
    assert data.notices == ()
    by_id = {row["image"]: row for row in delivered.rows}
    assert len(data.rows) == len(by_id)
    for index, row in data.rows.iterrows():
        original = by_id[row["sample_id"]]
        pixels = Image.open(delivered.file(original["image"])).resize((8, 8), Image.Resampling.BILINEAR)
        assert (data.images[index, 0] == np.asarray(pixels)).all()
        assert row["has_map"] == bool(original["saliency"])
        if row["has_map"]:
            human = Image.open(delivered.file(original["saliency"])).resize((8, 8), Image.Resampling.BOX)
            assert (data.maps[index] == np.asarray(human)).all()
            assert data.maps[index].any()
        else:
            assert not data.maps[index].any()
        assert row["label"] == (original["label"] == "abnormal")
        assert row["split"] == original["split"].replace("val", "validation")
        assert (row["source"], row["subject"]) == (original["source"], original["subject"])
        assert row["category"] == ("abnormal" if row["label"] else "")
        assert row["saliency_kind"] == original["saliency_kind"]
    assert data.rows["label"].dtype == np.int64
    assert data.rows["has_map"].dtype == bool


@pytest.mark.parametrize("value", [0, 255])
def test_a_constant_map_is_no_map(task, delivered, home, value):
    row = next(row for row in delivered.rows if row["saliency"])
    delivered.file(row["saliency"]).write_bytes(delivered.mask(value=value, fill=value))
    prepare_data_set(task, ADAPTER, delivered.save(), home / "data" / "cxr")
    data = load_arrays(task, catalogue.resolve(task, None), 8)
    flat = data.rows["sample_id"] == row["image"]
    assert data.rows.loc[flat, "has_map"].tolist() == [False]
    assert not data.maps[flat].any()
    assert data.rows["has_map"].sum() == sum(bool(one["saliency"]) for one in delivered.rows) - 1


def test_the_second_time_nothing_is_decoded(task, ready, no_decoding):
    source = catalogue.resolve(task, None)
    first = load_arrays(task, source, 8)
    no_decoding()
    for again in (load_arrays(task, source, 8), open_cached(first.path)):
        assert (again.images[:] == first.images[:]).all()
        assert (again.maps[:] == first.maps[:]).all()
        pd.testing.assert_frame_equal(again.rows, first.rows)
        assert (again.fingerprint, again.pixel_hash, again.path) == (
            first.fingerprint,
            first.pixel_hash,
            first.path,
        )
    with pytest.raises(AssertionError, match="decoded again"):
        load_arrays(task, source, 9)


def test_colour_tasks_get_three_channels_of_their_own_cache(task, ready):
    source = catalogue.resolve(task, None)
    grey = load_arrays(task, source, 8)
    colour = load_arrays(dataclasses.replace(task, channels=3), source, 8)
    assert colour.images.shape == (16, 3, 8, 8)
    assert (colour.images[:] == grey.images[:]).all()
    assert colour.path != grey.path
    assert colour.pixel_hash != grey.pixel_hash


def test_new_data_in_the_same_folder_is_decoded_anew(task, delivered, ready):
    old = load_arrays(task, catalogue.resolve(task, None), 8)
    delivered.file(delivered.rows[0]["image"]).write_bytes(delivered.picture(77))
    prepare_data_set(task, ADAPTER, delivered.save(), ready, force=True)
    new = load_arrays(task, catalogue.resolve(task, None), 8)
    assert new.path != old.path
    assert (new.images[:] != old.images[:]).any()


def test_even_where_names_sizes_and_times_of_the_files_are_the_same(task, delivered, ready):
    loaded = []
    for subject in ("person X", "person Y"):
        delivered.rows[0]["subject"] = subject
        prepare_data_set(task, ADAPTER, delivered.save(), ready, force=True)
        for path in (ready / "data").iterdir():
            os.utime(path, (0, 0))
        loaded.append(load_arrays(task, catalogue.resolve(task, None), 8))
    assert loaded[0].path != loaded[1].path
    assert [("person X" in set(data.rows["subject"])) for data in loaded] == [True, False]


def rewrite(path, **columns):
    """Change columns of a Parquet file and keep its size in divsal.json right, as an attacker would."""
    import json

    table = pq.read_table(path)
    for name, change in columns.items():
        index = table.schema.get_field_index(name)
        values = [change(value) for value in table[name].to_pylist()]
        table = table.set_column(index, table.schema.field(index), pa.array(values, table.schema.field(index).type))
    pq.write_table(table, path, use_dictionary=False)
    info = path.parent.parent / "divsal.json"
    content = json.loads(info.read_text())
    content["files"][f"data/{path.name}"] = path.stat().st_size
    info.write_text(json.dumps(content))


def test_data_changed_after_preparing_is_refused(task, ready, home):
    rewrite(ready / "data/train-00000-of-00001.parquet", source=lambda value: "z")
    with pytest.raises(UserError, match=r"was changed after preparing.*prepare it again"):
        load_arrays(task, catalogue.resolve(task, None), 8)
    assert not list((home / "cache").iterdir()) if (home / "cache").exists() else True


def test_changed_data_is_refused_although_it_was_loaded_before(task, ready):
    load_arrays(task, catalogue.resolve(task, None), 8)
    rewrite(ready / "data/train-00000-of-00001.parquet", source=lambda value: "z")
    with pytest.raises(UserError, match="was changed after preparing"):
        load_arrays(task, catalogue.resolve(task, None), 8)


def test_a_file_of_another_size_or_a_missing_one_is_refused(task, ready):
    source = catalogue.resolve(task, None)
    file = ready / "data/train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"train-.*was changed after preparing"):
        load_arrays(task, source, 8)
    file.unlink()
    with pytest.raises(UserError, match=r"train-.*is missing"):
        load_arrays(task, source, 8)


def test_damage_inside_a_file_names_it(task, ready):
    source = catalogue.resolve(task, None)
    file = ready / "data/test-00000-of-00001.parquet"
    data = bytearray(file.read_bytes())
    data[-200:-8] = bytes(192)
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"test-00000-of-00001.parquet is damaged"):
        load_arrays(task, source, 8)


def test_an_unreadable_image_names_its_sample(task, ready):
    rewrite(ready / "data/test-00000-of-00001.parquet", image=lambda value: {"bytes": b"no", "path": None})
    with pytest.raises(UserError, match=r"image of sample 'img/test-a-0\.png' is not an image"):
        load_arrays(task, catalogue.resolve(task, None), 8)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", "[" * 100_000, '{"sum": 1}', '{"sum": "x", "fingerprint": "y"}']
)
def test_a_meta_file_that_says_nothing_is_one_line(task, ready, text):
    first = load_arrays(task, catalogue.resolve(task, None), 8)
    (first.path / "meta.json").write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        open_cached(first.path)
    assert len(load_arrays(task, catalogue.resolve(task, None), 8).rows) == 16


def test_a_full_disk_is_one_line_and_leaves_nothing(task, ready, home):
    source = catalogue.resolve(task, None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write .*free some space or set DIVSAL_BENCH_HOME"):
            load_arrays(task, source, 32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (home / "cache").exists()


def test_workers_open_the_arrays_without_the_engine(task, ready):
    path = load_arrays(task, catalogue.resolve(task, None), 8).path
    code = (
        "import sys; from pathlib import Path; from divsal_bench.data.arrays import open_cached\n"
        "d = open_cached(Path(sys.argv[1])); print(len(d.rows), d.images.shape, 'datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "16 (16, 1, 8, 8) False"
    with pytest.raises(UserError, match="cannot be read"):
        open_cached(path / "nowhere")


@pytest.mark.parametrize("size", [16, 8])
@pytest.mark.parametrize("variant", ["standin", "standin:oracle"])
def test_standins(task, home, size, variant):
    drawn = task.draw_standin(variant, catalogue.STANDIN_SEED)
    source = catalogue.resolve(task, variant)
    data = load_arrays(task, source, size)
    assert data.images.shape == (18, 1, size, size)
    assert data.pixel_hash == pixel_hash(drawn.images, drawn.maps)
    assert data.fingerprint == source.fingerprint
    for index in range(18):
        image, human = Image.fromarray(drawn.images[index]), Image.fromarray(drawn.maps[index])
        assert (data.images[index, 0] == np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))).all()
        assert (data.maps[index] == np.asarray(human.resize((size, size), Image.Resampling.BOX))).all()
    columns = list(drawn.rows.columns)
    assert (data.rows[columns].to_numpy() == drawn.rows[columns].to_numpy()).all()
    assert (data.rows["has_map"] == (drawn.rows["saliency_kind"] == "mask")).all()
    assert load_arrays(task, source, size).path == data.path
    assert (load_arrays(task, source, size).images[:] == data.images[:]).all()


def test_colour_standins(task, home):
    def draw(variant, seed):
        drawn = task.draw_standin(variant, seed)
        return dataclasses.replace(drawn, images=np.stack([drawn.images, drawn.images // 2, drawn.images // 3], -1))

    colour = dataclasses.replace(task, channels=3, draw_standin=draw)
    data = load_arrays(colour, catalogue.resolve(colour, "standin"), 16)
    assert (data.images[:, 2] == draw("standin", 0).images[..., 2]).all()


@pytest.mark.parametrize("part", ["images", "maps", "label", "split"])
def test_a_changed_generator_never_meets_an_old_cache(task, home, part):
    old = load_arrays(task, catalogue.resolve(task, "standin"), 16)

    def draw(variant, seed):
        drawn = task.draw_standin(variant, seed)
        if part in ("images", "maps"):
            getattr(drawn, part)[0, 0, 0] ^= 1
        else:
            drawn.rows.loc[0, part] = {"label": 1, "split": "test"}[part]
        return drawn

    changed = dataclasses.replace(task, draw_standin=draw)
    assert load_arrays(changed, catalogue.resolve(changed, "standin"), 16).path != old.path


def test_other_pixels_than_the_release_are_a_warning(task, home):
    drawn = task.draw_standin("standin", catalogue.STANDIN_SEED)
    right = dataclasses.replace(task, standin_pixels={"standin": pixel_hash(drawn.images, drawn.maps)})
    assert load_arrays(right, catalogue.resolve(right, "standin"), 16).notices == ()
    wrong = dataclasses.replace(task, standin_pixels={"standin": "0" * 64})
    for _ in range(2):  # from the cache, too
        (notice,) = load_arrays(wrong, catalogue.resolve(wrong, "standin"), 16).notices
        assert "differ" in notice
    assert load_arrays(wrong, catalogue.resolve(wrong, "standin:null"), 16).notices == ()


def test_arrays_of_data_with_a_turned_photograph(task, delivered, home):
    exif = Image.Exif()
    exif[0x0112] = 3
    upside_down = delivered.rows[1]
    pixels = np.zeros((10, 12), np.uint8)
    pixels[:5, :6] = 255  # where the map is
    Image.fromarray(pixels).save(delivered.file(upside_down["image"]), exif=exif)
    out = prepare_data_set(task, ADAPTER, delivered.save(), home / "data" / "cxr").path
    data = load_arrays(task, catalogue.resolve(task, str(out)), 4)
    index = data.rows.index[data.rows["sample_id"] == upside_down["image"]][0]
    assert data.maps[index, 3, 3] == 255
    assert data.images[index, 0, 3, 3] > 200
    assert data.maps[index, 0, 0] == data.images[index, 0, 0, 0] == 0


def test_the_source_can_be_sent_to_workers(task, ready):
    source = catalogue.resolve(task, None)
    assert pickle.loads(pickle.dumps(source)) == source


def test_cache_version_is_part_of_the_key(task, ready, monkeypatch):
    source = catalogue.resolve(task, None)
    old = load_arrays(task, source, 8).path
    monkeypatch.setattr(arrays, "CACHE_VERSION", 999)
    assert load_arrays(task, source, 8).path != old


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("subject", "the same", "is in two splits"),
        ("label", -1, "neither 0 nor 1"),
        ("source", None, "a value is missing"),
    ],
)
def test_data_of_others_is_not_trusted_to_be_sound(task, ready, monkeypatch, column, value, message):
    """Its publisher chose fingerprint and file hashes as well."""
    read = canonical.read_samples
    firsts = set()

    def as_published(folder, info):
        for entry in read(folder, info):
            first = entry.split not in firsts
            firsts.add(entry.split)
            yield dataclasses.replace(entry, **{column: value}) if first else entry

    monkeypatch.setattr(canonical, "read_samples", as_published)
    with pytest.raises(UserError, match=message):
        load_arrays(task, catalogue.resolve(task, str(ready)), 8)


def test_a_builtin_standin_is_drawn_once_by_the_same_code(home, monkeypatch):
    builtin = plugins.tasks().get("iris-pad")
    drawings = []
    counting = dataclasses.replace(builtin, draw_standin=functools.wraps(builtin.draw_standin)(
        lambda variant, seed: drawings.append(variant) or builtin.draw_standin(variant, seed)))  # fmt: skip
    source = catalogue.resolve(builtin, "standin")
    first = load_arrays(counting, source, 16)
    again = load_arrays(counting, source, 16)
    assert drawings == ["standin"]
    assert (again.path, again.pixel_hash, again.notices) == (first.path, first.pixel_hash, first.notices)
    assert (again.images[:] == first.images[:]).all()
    load_arrays(counting, catalogue.resolve(builtin, "standin:null"), 16)
    load_arrays(counting, source, 24)
    assert drawings == ["standin", "standin:null", "standin"]
    monkeypatch.setattr(drawn, "code_of", lambda task: "other code")
    assert load_arrays(counting, source, 16).path == first.path
    assert len(drawings) == 4
    shutil.rmtree(first.path)
    assert load_arrays(counting, source, 16).pixel_hash == first.pixel_hash


def test_a_strangers_standin_is_drawn_each_time(task):
    assert drawn.code_of(task) is None
