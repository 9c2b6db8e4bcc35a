from pathlib import Path

import pytest

from divsal_bench.data.folders import new_folder
from divsal_bench.errors import UserError


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_the_old_folder_comes_back_when_the_last_step_fails(tmp_path, monkeypatch, error):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    rename = Path.rename

    def fail(path, target):
        if ".partial-" in path.name:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected), new_folder(out, replace=True) as aside:
        (aside / "new").write_text("new")
    assert list(tmp_path.iterdir()) == [out]
    assert (out / "old").read_text() == "old"


def test_a_folder_that_appeared_meanwhile_is_not_touched(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FileExistsError), new_folder(out):
        (out / "theirs").mkdir(parents=True)
    assert list(tmp_path.iterdir()) == [out]
    assert (out / "theirs").exists()


def test_a_link_to_a_folder_is_kept_and_its_target_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with new_folder(tmp_path / "link", replace=True) as aside:
        (aside / "new").write_text("")
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]
