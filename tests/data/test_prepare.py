import dataclasses
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from divsal_bench.data import canonical, writer
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.errors import UserError
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER


def run(task, delivered, **options):
    return prepare_data_set(task, ADAPTER, delivered.save(), delivered.folder.parent / "out", **options)


def test_writes_what_was_delivered(task, delivered):
    done = []
    result = run(task, delivered, progress=lambda *numbers: done.append(numbers))
    assert done == [(number, 16) for number in range(1, 17)]
    assert [dataclasses.astuple(count) for count in result.counts] == [
        ("train", "a", 2, 2, 2),
        ("validation", "a", 2, 2, 2),
        ("test", "a", 2, 2, 0),
        ("test", "b", 2, 2, 0),
    ]
    assert result.notices == ()
    info = json.loads((result.path / "divsal.json").read_text())
    assert info["fingerprint"] == result.fingerprint
    assert info["task"] == "cxr"
    assert info["sources"]["b"] == {
        "licence": "CC BY 4.0",
        "redistribute_images": "yes",
        "redistribute_weights": "yes",
        "redistribute_predictions": "yes",
    }
    assert sorted(path.name for path in result.path.iterdir()) == ["README.md", "data", "divsal.json"]


def test_load_dataset_reads_it(task, delivered, tmp_path):
    import datasets

    result = run(task, delivered)
    loaded = datasets.load_dataset(str(result.path), cache_dir=str(tmp_path / "cache"))
    assert {split: len(loaded[split]) for split in loaded} == {"train": 4, "validation": 4, "test": 8}
    features = loaded["train"].features
    assert features["label"] == datasets.ClassLabel(names=["normal", "abnormal"])
    assert isinstance(features["image"], datasets.Image)
    assert isinstance(features["saliency"], datasets.Image)
    row = loaded["train"][1]
    expected = delivered.rows[1]
    assert row["sample_id"] == expected["image"]
    assert row["image"].tobytes() == Image.open(delivered.file(expected["image"])).tobytes()
    assert row["saliency"].size == row["image"].size
    assert {name: row[name] for name in ("label", "saliency_kind", "source", "category", "subject")} == {
        "label": 1,
        "saliency_kind": "mask",
        "source": "a",
        "category": "abnormal",
        "subject": expected["subject"],
    }
    assert loaded["test"][0]["saliency"] is None
    assert loaded["test"][0]["category"] == ""
    raw = loaded["train"].cast_column("image", datasets.Image(decode=False))[1]["image"]
    assert raw["bytes"] == delivered.file(expected["image"]).read_bytes()
    assert raw["path"] is None


def test_card_names_files_licences_and_terms(task, delivered):
    delivered.rows[-1]["licence"] = 'all "rights" | reserved'
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(run(task, delivered).path / "README.md")
    assert card.data.license == "other"
    assert card.data.license_name == "cc-by-4-0-and-cc-by-4-0-all-rights-reserved"
    assert {"divsal-bench", "cxr"} <= set(card.data.tags)
    assert [part["split"] for part in card.data.configs[0]["data_files"]] == ["train", "validation", "test"]
    assert '| b | CC BY 4.0; all "rights" \\| reserved | yes | yes | yes |' in card.text


def test_manifest_order_does_not_matter(task, delivered):
    first = run(task, delivered)
    files = {path.name: path.read_bytes() for path in (first.path / "data").iterdir()}
    random.Random(0).shuffle(delivered.rows)
    second = run(task, delivered, force=True)
    assert second.fingerprint == first.fingerprint
    assert {path.name: path.read_bytes() for path in (second.path / "data").iterdir()} == files
    ids = pq.read_table(second.path / "data/train-00000-of-00001.parquet")["sample_id"].to_pylist()
    assert ids == sorted(ids)


@pytest.mark.parametrize("field", ["source", "subject", "category", "sample_id", "image", "map", "split", "label"])
def test_fingerprint_follows_every_field(task, delivered, field):
    before = run(task, delivered).fingerprint
    row = delivered.rows[3]
    if field == "image":
        delivered.file(row["image"]).write_bytes(delivered.picture(99))
    elif field == "map":
        delivered.file(row["saliency"]).write_bytes(delivered.mask(value=200))
    elif field == "split":
        row["split"] = "test"
    elif field == "label":
        delivered.rows[2]["label"] = "abnormal"
    else:
        row[field] = "changed"
    assert run(task, delivered, force=True).fingerprint != before


def test_large_data_is_cut_into_shards(task, delivered, monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(writer, "GROUP_BYTES", 300)
    monkeypatch.setattr(
        writer.write_data_set, "__kwdefaults__", {**writer.write_data_set.__kwdefaults__, "shard_bytes": 500}
    )
    result = run(task, delivered)
    names = sorted(path.name for path in (result.path / "data").glob("test-*"))
    assert len(names) > 1
    assert names == [f"test-{number:05d}-of-{len(names):05d}.parquet" for number in range(len(names))]
    loaded = datasets.load_dataset(str(result.path), cache_dir=str(tmp_path / "cache"))
    ids = loaded["test"]["sample_id"][:]
    assert len(ids) == 8
    assert ids == sorted(ids)
    assert result.fingerprint == prepare_data_set(task, ADAPTER, delivered.folder, tmp_path / "again").fingerprint


def test_the_writer_refuses_rows_out_of_order(task, tmp_path):
    entries = [canonical.Sample(name, "train", 0, "s", "", "p", b"", None, "none") for name in ("b", "a")]
    with pytest.raises(ValueError, match="not sorted at train 'a'"):
        writer.write_data_set(
            tmp_path / "out", entries, task="cxr", class_names=task.class_names, adapter="list", sources={}
        )
    assert not (tmp_path / "out").exists()


def test_unusual_maps_are_noticed(task, delivered):
    rows = delivered.rows
    delivered.file(rows[1]["saliency"]).write_bytes(delivered.mask(value=0))
    delivered.file(rows[3]["saliency"]).write_bytes(delivered.mask(value=1))
    exif = Image.Exif()
    exif[0x0112] = 6
    delivered.file(rows[5]["image"]).write_bytes(delivered.picture(60, kind="JPEG", exif=exif))
    notices = run(task, delivered).notices
    assert [notice.split()[:2] for notice in notices] == [["1", "maps"], ["1", "images"], ["source", "a:"]]
    assert "same value" in notices[0]
    assert "EXIF" in notices[1]
    assert "1 maps are masks" in notices[2]
    assert "0 and 255" in notices[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_existing_data_is_replaced_only_with_force(task, delivered):
    out = run(task, delivered).path
    before = contents(out)
    delivered.rows[0]["source"] = "c"
    with pytest.raises(UserError, match="--force"):
        run(task, delivered)
    assert contents(out) == before
    assert run(task, delivered, force=True).path == out
    assert contents(out) != before
    assert {path.name for path in out.parent.iterdir()} == {"out", "delivered"}


def test_force_never_deletes_a_folder_of_something_else(task, delivered):
    out = delivered.folder.parent / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not a prepared data set"):
        run(task, delivered, force=True)
    assert (out / "thesis.tex").read_text() == "years of work"
    (out / "thesis.tex").unlink()
    assert run(task, delivered).path == out  # an empty folder is fine


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()])
def test_an_exception_in_the_middle_leaves_nothing(task, delivered, exists, error):
    out = delivered.folder.parent / "deep" / "er" / "out"
    before = {}
    if exists:
        before = contents(prepare_data_set(task, ADAPTER, delivered.save(), out).path)

    def stop(done, total):
        assert any(path.name.startswith(".out.partial-") for path in out.parent.iterdir())
        if done == 9:
            raise error

    with pytest.raises(type(error)):
        prepare_data_set(task, ADAPTER, delivered.save(), out, force=True, progress=stop)
    if exists:
        assert contents(out) == before
        assert list(out.parent.iterdir()) == [out]
    else:
        assert not (delivered.folder.parent / "deep").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(task, delivered):
    # A limit on the size of files is the same to the program as a disk that fills up in the middle.
    delivered.file(delivered.rows[0]["image"]).write_bytes(delivered.picture(1, (400, 400)))
    delivered.save()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write .*out: .*free some space or choose another folder"):
            prepare_data_set(task, ADAPTER, delivered.folder, delivered.folder.parent / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(delivered.folder.parent.iterdir()) == [delivered.folder]


def test_a_place_that_cannot_be_written(task, delivered, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "out", Path("/proc/divsal/out")):
        with pytest.raises(UserError, match="cannot write"):
            prepare_data_set(task, ADAPTER, delivered.save(), out)
    with pytest.raises(UserError, match="is a file"):
        prepare_data_set(task, ADAPTER, delivered.save(), tmp_path / "file")


def test_permissions_are_those_of_the_umask(task, delivered):
    before = os.umask(0o022)
    try:
        out = run(task, delivered).path
    finally:
        os.umask(before)
    assert out.stat().st_mode & 0o777 == 0o755


def test_nothing_here_needs_torch_and_listing_is_quick():
    package = Path(canonical.__file__).parent
    modules = [
        "scores.conditions",
        *(f"data.{path.stem}" for path in package.glob("*.py") if path.stem != "__init__"),
    ]
    modules += ["tasks.adapters.manifest_csv", "tasks.adapters.standin"]
    assert len(modules) > 10
    for heavy, names in {
        "torch": modules,
        "datasets": modules,
        "pandas": modules,
        "PIL": modules,
        "huggingface_hub": modules,
        "numpy": ["tasks.adapters.manifest_csv", "tasks.adapters.standin", "data.catalogue"],
    }.items():
        code = f"import sys, importlib\nfor n in {names!r}: importlib.import_module('divsal_bench.' + n)\n"
        code += f"sys.exit({heavy!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, heavy
