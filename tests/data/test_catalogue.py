import dataclasses
import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from divsal_bench.data import catalogue
from divsal_bench.data.catalogue import prepared, resolve
from divsal_bench.data.fingerprint import standin_fingerprint
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.errors import UserError
from divsal_bench.files import owners


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("DIVSAL_BENCH_HOME", "~/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert catalogue.home() == tmp_path / "somewhere"
    assert catalogue.default_folder("cxr") == tmp_path / "somewhere" / "data" / "cxr"
    monkeypatch.delenv("DIVSAL_BENCH_HOME")
    fake = types.SimpleNamespace(user_cache_dir=lambda name: f"/caches/{name}")
    monkeypatch.setitem(sys.modules, "platformdirs", fake)
    assert catalogue.home() == Path("/caches/divsal-bench")


def test_without_prepared_data_the_standin_and_a_notice(task, home):
    source = resolve(task, None)
    assert (source.kind, source.name, source.spec) == ("standin", "standin", "standin")
    assert source.fingerprint == standin_fingerprint("cxr", "standin", 1, 0)
    assert "stand-in" in source.notice
    assert str(home / "data" / "cxr") in source.notice
    assert "data prepare cxr" in source.notice
    assert "--data" in source.notice


def test_prepared_data_comes_first_and_the_notice_says_so(task, ready):
    source = resolve(task, None)
    assert (source.kind, source.name, source.location) == ("folder", "cxr", ready)
    assert source.fingerprint == json.loads((ready / "divsal.json").read_text())["fingerprint"]
    assert str(ready) in source.notice
    assert "16 rows" in source.notice
    assert "--data standin" in source.notice
    assert resolve(task, "standin").kind == "standin"
    assert resolve(dataclasses.replace(task, name="iris-pad"), None).kind == "standin"


def test_a_prepared_copy_of_the_standin_is_called_what_it_is(task, home, tmp_path):
    from divsal_bench.tasks.adapters.standin import ADAPTER

    prepare_data_set(task, ADAPTER, None, tmp_path / "copy")
    assert catalogue.resolve(task, str(tmp_path / "copy")).is_drawn
    assert catalogue.resolve(task, "standin").is_drawn


def test_named_data_needs_no_notice(task, ready, monkeypatch):
    for name in (str(ready), f"{ready}/"):
        source = resolve(task, name)
        assert (source.kind, source.location, source.notice) == ("folder", ready, "")
        assert resolve(task, source.spec) == source
    monkeypatch.chdir(ready.parent)
    assert resolve(task, "cxr").location == ready
    source = resolve(task, "standin:oracle")
    assert (source.variant, source.name, source.notice) == ("standin:oracle", "standin:oracle", "")
    with pytest.raises(ValueError, match="no folder"):
        source.folder()


def test_folder_of_another_task_is_refused(task, ready):
    with pytest.raises(UserError, match="prepared for the task 'cxr', not for 'face-pad'"):
        resolve(dataclasses.replace(task, name="face-pad"), str(ready))
    with pytest.raises(UserError, match=r"normal/abnormal, but .* healthy/ill"):
        resolve(dataclasses.replace(task, class_names=("healthy", "ill")), str(ready))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("standin:orcale", "Did you mean 'standin:oracle'"),
        ("standin:", "unknown stand-in 'standin:'"),
        ("standing-cxr", "there is no data 'standing-cxr'"),
        ("Standin", "there is no data 'Standin'"),
        ("./nowhere", "there is no data './nowhere'"),
        ("/no/where", "there is no data"),
        ("nowhere", "give a prepared folder, a Hub id"),
        ("a/b/c", "there is no data"),
        ("", "there is no data"),
        ("~nobody-here/data", "there is no data"),
    ],
)
def test_names_of_nothing(task, home, data, message):
    with pytest.raises(UserError, match=message):
        resolve(task, data)


def test_a_folder_that_is_not_prepared(task, home, delivered):
    with pytest.raises(UserError, match="not a prepared data set"):
        resolve(task, str(delivered.save()))
    with pytest.raises(UserError, match="is a manifest, not prepared data; first divsal-bench data prepare cxr"):
        resolve(task, str(delivered.folder / "manifest.csv"))


def break_json(folder):
    (folder / "divsal.json").write_text("{")


def newer(folder):
    content = json.loads((folder / "divsal.json").read_text())
    (folder / "divsal.json").write_text(json.dumps({**content, "schema_version": 2}))


def escape(folder):
    content = json.loads((folder / "divsal.json").read_text())
    (folder / "divsal.json").write_text(json.dumps({**content, "files": {"../../secret": 1}}))


def wrong_type(folder):
    content = json.loads((folder / "divsal.json").read_text())
    (folder / "divsal.json").write_text(json.dumps({**content, "counts": 5}))


BROKEN = {
    "unreadable": (break_json, "cannot be read"),
    "newer": (newer, "newer divsal-bench"),
    "escaping": (escape, "outside its folder"),
    "wrong type": (wrong_type, "cannot be read"),
    "missing": (lambda folder: (folder / "divsal.json").unlink(), "not a prepared data set"),
    "shard missing": (
        lambda folder: next((folder / "data").glob("val*")).unlink(),
        "validation-.*is missing",
    ),
    "no data": (lambda folder: shutil.rmtree(folder / "data"), "is missing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_data_is_listed_and_never_replaced_by_the_standin(task, ready, name):
    spoil, message = BROKEN[name]
    spoil(ready)
    for data in (None, str(ready)):
        with pytest.raises(UserError, match=message) as caught:
            resolve(task, data)
        assert "\n" not in str(caught.value)
    (entry,) = prepared()
    assert (entry.task, entry.folder, entry.rows, entry.fingerprint) == ("cxr", ready, 0, "")
    assert entry.problem


def test_prepared_lists_sets_and_not_what_is_being_written(ready, home):
    assert resolve.__module__ == "divsal_bench.data.catalogue"
    (home / "data" / ".cxr.partial-1").mkdir()
    (home / "data" / "note.txt").write_text("")
    (entry,) = prepared()
    assert (entry.task, entry.folder, entry.rows, entry.problem) == ("cxr", ready, 16, "")
    assert len(entry.fingerprint) == 64


def test_nothing_prepared(home):
    assert prepared() == []


@pytest.mark.parametrize("name", ["standing-cxr", "standin-copy", "standin_2"])
def test_a_folder_that_is_there_is_that_folder(task, ready, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ready, tmp_path / name)
    assert (resolve(task, name).kind, resolve(task, name).name) == ("folder", name)


def test_a_folder_called_like_a_stand_in_is_named_by_its_path_and_keeps_apart(task, ready, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ready, tmp_path / "standin")
    assert resolve(task, "standin").kind == "standin"
    found = resolve(task, "./standin")
    assert (found.kind, found.name) == ("folder", "standin-folder")
    assert resolve(task, found.spec) == found


def test_drawn_images_that_nobody_named_are_marked(task, home):
    assert resolve(task, None).unnamed
    assert not resolve(task, "standin").unnamed


def test_data_that_was_prepared_and_is_gone_is_never_replaced_by_drawn_images(task, ready):
    assert not resolve(task, None).unnamed
    shutil.rmtree(ready)
    with pytest.raises(UserError, match=r"the prepared data that was in .* is gone; .*--data standin") as caught:
        resolve(task, None)
    assert "\n" not in str(caught.value)
    assert resolve(task, "standin").kind == "standin"
    assert prepared() == []
    (ready.parent / ".cxr.prepared").unlink()  # as the message says
    assert resolve(task, None).unnamed


def test_data_of_an_older_version_is_remembered_once_it_was_found(task, ready):
    note = ready.parent / ".cxr.prepared"
    note.unlink()
    resolve(task, None)
    assert note.exists()


@pytest.mark.parametrize("kind", ["old", "partial"])
def test_data_that_is_being_replaced_is_waited_for(task, ready, kind):
    ready.rename(ready.parent / f".cxr.{kind}-{owners.own_tag()}")
    with pytest.raises(UserError, match=r"another process is preparing .*; give the command again"):
        resolve(task, None)


def test_data_that_a_killed_process_moved_away_is_found_again(task, ready):
    """A real process, killed between the two renames of a system that cannot exchange folders in one step."""
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom divsal_bench.files import whole\n"
        "whole._exchange = lambda one, other: False\nrename = Path.rename\n"
        "def once(path, target):\n    rename(path, target)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Path.rename = once\n"
        "with whole.new_folder(Path(sys.argv[1]), replace=True) as aside:\n    (aside / 'x').touch()\n"
    )
    expected = resolve(task, None)
    done = subprocess.run([sys.executable, "-c", code, str(ready)], check=False)
    assert done.returncode == -9
    assert not ready.exists()
    assert resolve(task, None) == expected
    assert sorted(path.name for path in ready.parent.iterdir()) == [".cxr.prepared", "cxr"]
