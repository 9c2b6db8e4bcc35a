"""Accepted results: what is read back is what was submitted, and nothing that was changed since is believed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.accepted import all_results, board_file, reading
from divsal_bench.leaderboard.accepted.publishing import PublicData
from divsal_bench.leaderboard.accepted.submission import Submitted
from divsal_bench.leaderboard.claims import files, keys
from divsal_bench.leaderboard.claims.claim import Claim
from divsal_bench.leaderboard.tables import board
from divsal_bench.runs.reading import Run
from divsal_bench.runs.records import DataFacts

MakeRun = Callable[..., Run]
Five = Callable[..., list[Run]]
Submit = Callable[..., list[Submitted]]
FOLDER = Path("cxr/ffffffff")
#: A PNG of one black pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
METHOD = FOLDER / "quick-v1/resnet10t"


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a result's JSON by hand."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def put(content: Any, place: tuple[Any, ...], value: Any) -> None:
    """Set one value deep inside."""
    for part in place[:-1]:
        content = content[part]
    content[place[-1]] = value


def test_what_is_read_is_what_was_run(make_published: MakeRun, submit: Submit, tmp_path: Path) -> None:
    runs = [make_published(method, seed) for method in ("cross-entropy", "cyborg") for seed in range(5)]
    submit(runs)
    (sheet,) = all_results.read_accepted(tmp_path / "results").sheets
    assert sheet.rows is not None
    assert [entry.label for entry in sheet.entries] == ["cross-entropy", "cyborg"]
    assert sheet.standin
    entry = sheet.entries[1]
    assert entry.seeds == (0, 1, 2, 3, 4)
    assert entry.standing is not None
    assert (entry.standing.state, entry.standing.submitter) == ("reported", "Ann")
    assert entry.standing.description == "About cyborg."
    own, again = board.tables_of_runs(runs), [board.table_of_sheet(sheet)]
    for row, other in zip(own[0].rows, again[0].rows, strict=True):
        assert other.open_set.seeds.mean == pytest.approx(row.open_set.seeds.mean, abs=1e-4)
        assert other.in_domain.population is not None
        assert row.in_domain.population is not None
        assert other.in_domain.population.low == pytest.approx(row.in_domain.population.low, abs=1e-4)


def test_the_gallery_comes_with_the_maps_of_the_lowest_seed(results: Path) -> None:
    found = all_results.read_accepted(results)
    (gallery,) = found.galleries
    assert gallery is not None
    (picture,) = gallery.pictures
    assert set(gallery.maps) == {"cross-entropy", "cyborg"}
    assert gallery.maps["cyborg"][picture.key][0][0] == [0.12346, -1.0]
    assert gallery.seed == 0


def test_published_keys_tell_nothing_of_the_ids(results: Path, public: PublicData) -> None:
    text = b"".join(path.read_bytes() for path in results.rglob("*") if path.is_file())
    for name in (*public.rows["key"][:50], *public.rows["subject"].unique()[:50]):
        assert name.encode() not in text
    rows = reading.read_data_set(results / FOLDER).rows
    assert rows["subject"].nunique() == public.rows["subject"].nunique()
    assert keys.hashed("a", "f" * 64, "sample") != keys.hashed("a", "f" * 64, "subject")
    assert keys.hashed("a", "f" * 64, "sample") != keys.hashed("a", "e" * 64, "sample")


def numbers(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], float]]:
    """Every number in some JSON, and where."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from numbers(value, (*place, key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from numbers(value, (*place, index))
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield place, content


def test_every_edited_score_is_found_and_named(results: Path) -> None:
    """All numbers that follow from the margins, each edited alone."""
    path = results / METHOD / "cyborg.json"
    original = path.read_bytes()
    scores = json.loads(original)["seeds"][1]["scores"]
    carried = ("true_cam", "difference_map")
    places = [(place, value) for place, value in numbers(scores) if place[0] not in carried]
    assert len(places) > 20
    data = reading.read_data_set(results / FOLDER)
    for place, value in places:
        change = 1 if isinstance(value, int) else 1e-6
        edit(path, lambda c, place=place, new=value + change: put(c, ("seeds", 1, "scores", *place), new))  # type: ignore[misc]
        with pytest.raises(UserError, match=r"edited metrics in .*cyborg\.json, seed 1: ") as caught:
            reading.read_result(results, PurePosixPath((METHOD / "cyborg.json").as_posix()), data)
        assert [part for part in place if isinstance(part, str)][-1] in str(caught.value)
        path.write_bytes(original)
    all_results.read_accepted(results)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pe", 1.5), ("lift", -0.1), ("lift", 1e5), ("lift_nonempty", 1e300), ("auc", 2.0), ("cc", -1.5),
        ("maps_positive", 100000), ("maps_negative", 1),
        ("empty", 1000), ("empty", -1), ("lift_nonempty", -1.0), ("pe_nonempty", -1.0),
    ],
)  # fmt: skip
def test_impossible_agreement_with_people_is_found(results: Path, field: str, value: float) -> None:
    path = results / METHOD / "cyborg.json"
    edit(path, lambda content: put(content, ("seeds", 2, "scores", "true_cam", field), value))
    with pytest.raises(UserError, match=r"edited metrics in .*seed 2.*(numbers of human maps|true_cam\." + field + ")"):
        all_results.read_accepted(results)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("schema_version",), 2, "update divsal-bench"),
        (("seeds", 0, "scores", "in_domain"), float("nan"), "NaN"),
        (("seeds", 0, "scores", "in_domain"), "NaN", r"seeds\.0\.scores\.in_domain"),
        (("seeds", 0, "scores", "in_domain"), None, r"in_domain is missing"),
        (("seeds", 0, "scores"), None, r"seeds\.0\.scores"),
        (("seeds",), [], "seeds"),
        (("extra",), 1, "extra"),
        (("seeds", 0, "run_id"), "0" * 16, "does not hash to run_id"),
        (("seeds", 0, "seed"), 7, "does not hash to run_id"),
        (("seeds", 1, "seed"), 0, "seed 0 is there twice"),
        (("fields",), {"alpha": 0.1}, "does not hash to run_id"),
        (("version",), 2, "does not hash to run_id"),
        (("table", "protocol_settings"), {"epochs": 99}, "digest"),
        (("table", "backbone"), "resnet18", "does not hash"),
        (("table", "fingerprint"), "e" * 64, "does not hash"),
        (("table", "task"), "../../etc", r"table\.task"),
        (("table", "task"), "/etc", r"table\.task"),
        (("table", "protocol"), "..", r"table\.protocol"),
        (("table", "backbone"), "a/b", r"table\.backbone"),
        (("method",), "../cyborg", "method"),
        (("method",), "a.b", "has a dot"),
        (("label",), "another", "is called 'another', its fields make it 'cyborg'"),
        (("label",), "cyborg\x1b[2J", "label"),
        (("description",), "two\nlines", "description"),
        (("submitter",), "", "submitter"),
        (("state",), "verified", "its proofs show 'reported'"),
        (("state",), "reproduced", "its proofs show 'reported'"),
        (("kind",), "best", "kind"),
        (("margins_sha256",), "0" * 64, "sha256 differs"),
        (("key_sha256",), "0" * 64, r"names another key\.parquet"),
        (("date",), "yesterday", "date"),
        (("seeds", 0, "weights", "where"), "/root/model.safetensors", r"weights\.where"),
        (("seeds", 0, "weights", "where"), "../model.safetensors", r"weights\.where"),
        (("seeds", 0, "weights", "where"), "https://evil.example/model.safetensors", r"weights\.where"),
        (("seeds", 0, "weights", "where"), "javascript:alert(1)", r"weights\.where"),
        (("seeds", 0, "seconds"), -1, "seconds"),
        (("cams",), {"0" * 16: [[[1.0]], [[1.0]]]}, "no picture of the gallery"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(results: Path, place: tuple[Any, ...], value: Any, message: str) -> None:
    path = results / METHOD / "cyborg.json"
    edit(path, lambda content: put(content, place, value))
    with pytest.raises(UserError, match=message) as caught:
        all_results.read_accepted(results)
    assert "cyborg.json" in str(caught.value)


def test_maps_that_are_no_grid_are_refused(results: Path) -> None:
    path = results / METHOD / "cyborg.json"
    (key,) = json.loads(path.read_text())["cams"]
    for cams in ([[[1.0]]], [[[1.0]], [[1.0, 2.0]]], [[[1.0], [1.0, 2.0]], [[1.0]]], [[[0.0] * 65], [[0.0] * 65]]):
        edit(path, lambda content, cams=cams: put(content, ("cams", key), cams))  # type: ignore[misc]
        with pytest.raises(UserError, match="grid"):
            all_results.read_accepted(results)


@pytest.mark.parametrize(
    ("move_to", "message"),
    [
        ("cxr/ffffffff/quick-v1/resnet10t/other.json", "belongs to"),
        ("cxr/ffffffff/quick-v1/resnet18/cyborg.json", "belongs to"),
        ("cxr/ffffffff/cyborg-v1/resnet10t/cyborg.json", "belongs to"),
        ("cxr/eeeeeeee/quick-v1/resnet10t/cyborg.json", "key.parquet cannot be read"),
        ("cyborg.json", "belongs to no accepted result"),
        ("cxr/ffffffff/quick-v1/resnet10t/deep/cyborg.json", "belongs to no accepted result"),
    ],
)
def test_a_result_lies_where_its_content_says(results: Path, move_to: str, message: str) -> None:
    target = results / move_to
    target.parent.mkdir(parents=True, exist_ok=True)
    for end in (".json", ".parquet"):
        (results / METHOD / f"cyborg{end}").rename(target.with_suffix(end))
    with pytest.raises(UserError, match=message):
        all_results.read_accepted(results)


@pytest.mark.parametrize("name", ["notes.txt", "cxr/ffffffff/run.sh", "cxr/ffffffff/quick-v1/resnet10t/x.parquet"])
def test_files_that_no_result_names_are_refused(results: Path, name: str) -> None:
    (results / name).write_text("hello")
    with pytest.raises(UserError, match="belongs to no accepted result"):
        all_results.read_accepted(results)


def test_names_that_act_on_a_terminal_are_refused(results: Path) -> None:
    (results / METHOD / "x\x1b[2J.json").write_text("{}")
    with pytest.raises(UserError, match="has a file with the name") as caught:
        all_results.read_accepted(results)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["cxr/ffffffff/quick-v1/resnet10t/cyborg.json", "cxr/ffffffff/key.parquet", "cxr"])
def test_links_are_refused_wherever_they_lead(results: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    (results / name).rename(outside)
    (results / name).symlink_to(outside)
    with pytest.raises(UserError, match="is a link"):
        all_results.read_accepted(results)


def rewrite(results: Path, change: Callable[[list[str], np.ndarray], tuple[list[str], np.ndarray]]) -> None:
    """Change the margins of a result and name the new file in its JSON."""
    path = results / METHOD / "cyborg.json"
    names = reading.read_data_set(results / FOLDER).rows["key"].tolist()
    old = keys.parse_margins(path, path.with_suffix(".parquet").read_bytes(), range(5), names)
    content = keys.margin_bytes(*(lambda pair: (pair[0], range(5), pair[1]))(change(names, old)))
    path.with_suffix(".parquet").write_bytes(content)
    edit(path, lambda claim: put(claim, ("margins_sha256",), hashlib.sha256(content).hexdigest()))


def test_changed_margins_are_found_by_scoring_them(results: Path) -> None:
    rewrite(results, lambda names, margins: (names, margins + np.linspace(0, 1, margins.shape[1], dtype=np.float32)))
    with pytest.raises(UserError, match=r"edited metrics in .*seed 0"):
        all_results.read_accepted(results)


def test_missing_scores_are_refused(results: Path) -> None:
    rewrite(results, lambda names, margins: (names, np.where(margins == margins[1].max(), np.nan, margins)))
    with pytest.raises(UserError, match="seed 1 that are missing or not finite"):
        all_results.read_accepted(results)


def test_margins_of_other_rows_are_refused(results: Path) -> None:
    rewrite(results, lambda names, margins: ([*names[:-1], "f" * 15 + "0"], margins))
    with pytest.raises(UserError, match="other rows"):
        all_results.read_accepted(results)
    rewrite_count = reading.read_data_set(results / FOLDER).rows["key"].tolist()[:-1]
    content = keys.margin_bytes(rewrite_count, [0, 1, 2], np.zeros((3, len(rewrite_count)), np.float32))
    with pytest.raises(UserError, match="rows"):
        keys.parse_margins(results, content, [0, 1, 2], [*rewrite_count, "f" * 16])


def test_damaged_and_missing_files_are_named(results: Path) -> None:
    margins, key = results / METHOD / "cyborg.parquet", results / FOLDER / "key.parquet"
    for path in (margins, key, results / FOLDER / "gallery.json", results / METHOD / "cyborg.json"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(UserError, match=path.name.replace(".", r"\.")):
            all_results.read_accepted(results)
        path.write_bytes(content)
    for path in (margins, key):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(UserError, match=path.name):
            all_results.read_accepted(results)
        path.write_bytes(content)
    with pytest.raises(UserError, match="no results folder"):
        all_results.read_accepted(results / "nowhere")


def test_changed_rows_are_found_by_their_hash(results: Path) -> None:
    path = results / FOLDER / "key.parquet"
    rows = keys.parse_keys(path, path.read_bytes())
    path.write_bytes(keys.key_bytes(rows.assign(category="another")))
    with pytest.raises(UserError, match=r"names another key\.parquet"):
        all_results.read_accepted(results)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.assign(label=rows["label"] + 1), "label"),
        (lambda rows: rows.assign(split="train"), "split"),
        (lambda rows: rows.assign(condition_axis="weather"), "condition_axis"),
        (lambda rows: rows.assign(key="0" * 16), "ascending"),
        (lambda rows: rows.assign(subject="Mrs Smith"), "16 hexadecimal"),
        (lambda rows: rows[rows["split"] == "validation"], "no test rows"),
        (lambda rows: rows[rows["split"] == "test"], "no negative validation rows"),
    ],
)
def test_impossible_rows_are_refused(results: Path, change: Callable[[Any], Any], message: str) -> None:
    path = results / FOLDER / "key.parquet"
    rows = keys.parse_keys(path, path.read_bytes())
    path.write_bytes(keys.key_bytes(change(rows)))
    with pytest.raises(UserError, match=message):
        all_results.read_accepted(results)


def broken_png() -> str:
    """A PNG whose header is right and whose next chunk is not."""
    content = bytearray(base64.b64decode(PIXEL))
    content[37:41] = b"\x00\xff\x00\xff"
    return base64.b64encode(bytes(content)).decode()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("pictures", 0, "image"), "no base64!", "not base64"),
        (("pictures", 0, "image"), "PHNjcmlwdD4=", "not a PNG"),
        (("pictures", 0, "image"), broken_png(), "damaged PNG"),
        (("pictures", 0, "key"), "0" * 16, "no test row"),
        (("pictures", 0, "label"), 2, "pictures.0.label"),
        (("pictures", 0, "label"), 1, "another label or condition"),
        (("pictures", 0, "label"), -1, "pictures.0.label"),
        (("pictures", 0, "condition"), "elsewhere", "another label or condition"),
        (("pictures", 0, "human"), [[0.5], [2.0]], "outside"),
        (("pictures", 0, "human"), [[0.5], [0.1, 0.2]], "no grid"),
        (("maps",), {"cyborg": {}}, "has maps"),
        (("pictures",), [], "either pictures or the reason"),
        (("absent",), "both", "either pictures or the reason"),
        (("script",), "x", "script"),
    ],
)
def test_a_gallery_holds_pictures_of_test_rows(results: Path, place: tuple[Any, ...], value: Any, message: str) -> None:
    edit(results / FOLDER / "gallery.json", lambda content: put(content, place, value))
    with pytest.raises(UserError, match=message):
        all_results.read_accepted(results)


def test_results_of_different_data_and_protocols_never_meet(
    make_published: MakeRun, submit: Submit, tmp_path: Path
) -> None:
    changes: list[dict[str, Any]] = [
        {}, {"data_fingerprint": "e" * 64}, {"protocol": "cyborg-v1"}, {"backbone": "resnet18"}, {"head": "one-logit"}
    ]  # fmt: skip
    for change in changes:
        submit([make_published("cyborg", seed, **change) for seed in range(5)])
    sheets = all_results.read_accepted(tmp_path / "results").sheets
    assert len({sheet.group for sheet in sheets}) == len(changes)
    assert all(len(sheet.entries) == 1 for sheet in sheets)


def test_file_names_are_safe_and_never_shared(five: Five, submit: Submit) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"head": "one-logit"},
        {"method_version": 2},
        {"fields": {"a": 1}, "record": {"method_label": "cyborg:a=1"}},
        {"fields": {"a": "../x"}, "record": {"method_label": "cyborg:a=../x"}},
        {"fields": {"a": "//x"}, "record": {"method_label": "cyborg:a=//x"}},
        {"fields": {"a": "v2"}, "record": {"method_label": "cyborg:a=v2"}},
    ]
    for change in changes[3:]:
        change["method_version"] = 3  # of which no edition knows the fields
    done = [submit(five("cyborg", **change))[0] for change in changes]
    names = [one.path.name for one in done]
    assert len(set(names)) == len(names)
    assert names[0] == "cyborg.json"
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_") for name in names)
    assert all(one.path.parent.name == "resnet10t" for one in done)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (METHOD / ".partial-0123-4-5-0", "unfinished"),
        (METHOD / ".before.partial-0123-4-5-0", "unfinished"),
        (METHOD / ".cyborg.json.partial-1", "unfinished"),
        (FOLDER / ".key.parquet", "hidden"),
        (Path(".DS_Store"), "hidden"),
        (Path("cxr/.git/config"), "hidden"),
    ],
)
def test_hidden_files_are_refused_and_named(results: Path, name: Path, message: str) -> None:
    """They would be committed with the results, and nobody would have read them."""
    (results / name).parent.mkdir(exist_ok=True)
    (results / name).write_text("{")
    with pytest.raises(UserError, match=message) as caught:
        all_results.read_accepted(results)
    assert str(results / name if name.parts[1:] != (".git", "config") else results / "cxr/.git") in str(caught.value)


def test_the_board_and_a_note_are_not_results(results: Path) -> None:
    (results / "board.json").write_text("{}")
    (results / "README.md").write_text("# Results")
    assert len(all_results.read_accepted(results).sheets) == 1


def test_an_empty_folder_is_an_empty_board(tmp_path: Path) -> None:
    assert all_results.read_accepted(tmp_path).sheets == ()


def test_files_are_small(public: PublicData) -> None:
    draw = np.random.default_rng(0)
    for rows in (5_000, 20_000):
        names = sorted(f"{number:016x}" for number in draw.integers(0, 2**63, rows))
        content = keys.margin_bytes(names, range(10), draw.normal(size=(10, rows)).astype(np.float32))
        assert len(content) <= max(500_000, 60 * rows)
        assert keys.parse_margins(Path("x"), content, list(range(10)), names).shape == (10, rows)
    with pytest.raises(UserError, match="submit fewer seeds"):
        keys.margin_bytes(names, range(40), draw.normal(size=(40, rows)).astype(np.float32))


def test_a_copied_seed_is_refused_and_named(results: Path) -> None:
    path = results / METHOD / "cyborg.parquet"
    names = reading.read_data_set(results / FOLDER).rows["key"].tolist()
    values = keys.parse_margins(path, path.read_bytes(), range(5), names)
    path.write_bytes(keys.margin_bytes(names, range(5), values[[0, 1, 0, 3, 4]]))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(path.with_suffix(".json"), lambda content: put(content, ("margins_sha256",), sha256))
    with pytest.raises(UserError, match=r"cyborg\.parquet: seeds 0 and 2 have the same margins"):
        all_results.read_accepted(results)


def test_claims_round_trip(results: Path) -> None:
    path = results / METHOD / "cyborg.json"
    claim = reading.read_claim(path)
    assert files.model_json(claim) == path.read_bytes()
    assert Claim.model_validate_json(path.read_bytes()) == claim


KILLED = """
import os, sys
from pathlib import Path
from divsal_bench.leaderboard.claims import files
replace, left = Path.replace, [int(sys.argv[2])]
def counting(self, target):
    if not left[0]:
        os._exit(9)
    left[0] -= 1
    return replace(self, target)
Path.replace = counting
root = Path(sys.argv[1])
files.write_all({root / "a": b"new", root / "b": b"new", root / "c": b"new"})
"""


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_what_a_kill_leaves_is_whole_and_named(results: Path, tmp_path: Path, renames: int) -> None:
    folder = results / METHOD
    before = {name: (folder / name) for name in "abc"}
    for path in before.values():
        path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(renames)], check=False)
    assert done.returncode == 9
    assert [path.read_bytes() for path in before.values()] == [b"new"] * renames + [b"old"] * (3 - renames)
    for path in before.values():
        path.unlink()
    with pytest.raises(UserError, match=r"\.partial-\S+-\d is unfinished"):
        all_results.read_accepted(results)


# -- one label, one kind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("versions", [(1, 2), (2, 1)])
def test_a_version_bump_of_the_baseline_waits_for_the_next_edition(
    make_published: MakeRun, submit: Submit, tmp_path: Path, versions: tuple[int, ...]
) -> None:
    submit([make_published("cyborg", seed) for seed in range(5)])
    for version in versions:
        submit([make_published("cross-entropy", seed, 1 + 0.4 * version, method_version=version) for seed in range(5)])
    found = all_results.read_accepted(tmp_path / "results")
    (sheet,) = found.sheets
    assert [(entry.label, entry.version) for entry in sheet.entries] == [
        ("cross-entropy", 1), ("cross-entropy (cross-entropy.v2)", 2), ("cyborg", 1),
    ]  # fmt: skip
    later = "cross-entropy (cross-entropy.v2)"
    assert {(test.family, test.first, test.second) for test in board_file.dated_table(sheet).tests} == {
        ("baseline", "cyborg", "cross-entropy"),
        (f"own family of {later}", later, "cross-entropy"),
        (f"own family of {later}", later, "cyborg"),
    }
    assert found.galleries[0] is not None
    assert set(found.galleries[0].maps) == {entry.label for entry in sheet.entries}


def test_runs_of_two_versions_keep_the_plain_label_for_the_newest(make_run: MakeRun) -> None:
    runs = [make_run("cyborg", seed) for seed in range(5)]
    runs += [make_run("cross-entropy", seed, method_version=version) for seed in range(5) for version in (1, 2)]
    (table,) = board.tables_of_runs(runs)
    assert {row.label for row in table.rows} == {"cross-entropy", "cross-entropy@v1", "cyborg"}
    assert any(test.family == "baseline" for test in table.tests)


def test_a_label_that_collides_is_refused(five: Five, submit: Submit, tmp_path: Path) -> None:
    label = "cyborg:a=1"
    for version in (3, 4):
        submit(five("cyborg", method_version=version, fields={"a": 1}, record={"method_label": label}))
    stem = next(path.stem for path in (tmp_path / "results" / METHOD).glob("*.json") if not path.stem.endswith("v4"))
    evil = {"fields": {"a": f"1 ({stem})"}, "record": {"method_label": f"{label} ({stem})"}}
    submit(five("cyborg", method_version=3, **evil))
    with pytest.raises(UserError, match="have the same label"):
        all_results.read_accepted(tmp_path / "results")


#: Labels that are not their fields: of a method that an edition lists, and of one that nobody here knows.
WRONG_LABELS: list[tuple[str, dict[str, Any], str]] = [
    ("cyborg", {"alpha": 0.93, "cam_class": "true"}, "its fields make it 'cyborg:alpha=0.93'"),
    ("cyborg:alpha=0.93", {"alpha": 0.5, "cam_class": "true"}, "its fields make it 'cyborg'"),
    ("cyborg:alpha=0.3", {"alpha": 0.93, "cam_class": "true"}, "its fields make it 'cyborg:alpha=0.93'"),
    ("cyborg:alpha=0.3", {"alpha": 0.3, "cam_class": "predicted"}, "make it 'cyborg:alpha=0.3,cam_class=predicted'"),
    ("cyborg", {}, "cyborg has the fields alpha, cam_class, the claim has none"),
    ("cyborg", {"alpha": 0.5, "cam_class": "true", "gain": 3}, "the claim has alpha, cam_class, gain"),
    ("unknown:a=2", {"a": 1}, "says 'a=2', which its fields do not"),
    ("unknown:a=1,a=1", {"a": 1}, "says 'a=1', which its fields do not"),
    ("unknown:b=1", {"a": 1}, "says 'b=1', which its fields do not"),
    ("unknown:", {"a": 1}, "says '', which its fields do not"),
    ("unknown:a=1 and more", {"a": 1}, "says 'a=1 and more', which its fields do not"),
    ("better than all", {"a": 1}, "does not begin with the method's name"),
]


@pytest.mark.parametrize(("label", "fields", "message"), WRONG_LABELS)
def test_a_label_is_what_the_fields_make_it(
    five: Five, submit: Submit, tmp_path: Path, label: str, fields: dict[str, Any], message: str
) -> None:
    method = "cyborg" if label.startswith("cyborg") else "unknown"
    with pytest.raises(UserError, match=re.escape(message)):
        submit(five(method, fields=fields, record={"method_label": label}))
    assert not (tmp_path / "results").exists()


def test_labels_of_unknown_methods_are_read_in_any_order_and_with_commas(five: Five, submit: Submit) -> None:
    fields = {"a": "1,b=2", "b": 2, "c": True}
    labels = ["unknown:b=2,a=1,b=2", "unknown:c=True,a=1,b=2", "unknown:a=1,b=2", "unknown"]
    for version, label in enumerate(labels, start=1):
        (done,) = submit(five("unknown", method_version=version, fields=fields, record={"method_label": label}))
        assert done.claim.label == label


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (("unknown", {"a": 1}), ("unknown:b=2", {"a": 3, "b": 2}), "with fields of other names"),
        (("unknown", {"a": 1, "b": 1}), ("unknown:b=2", {"a": 3, "b": 2}), "is the default of unknown"),
        (("unknown", {"a": 1, "b": 1}), ("unknown:a=1,b=2", {"a": 1, "b": 2}), "is the default of unknown"),
        (("unknown:a=1,b=2", {"a": 1, "b": 2}), ("unknown", {"a": 1, "b": 1}), "is the default of unknown"),
    ],
)
def test_labels_that_contradict_each_other_are_refused(
    five: Five, submit: Submit, tmp_path: Path, first: Any, second: Any, message: str
) -> None:
    """What the defaults of a method are that is not installed here is told by the labels of all its claims."""
    for label, fields in (first, second):
        submit(five("unknown", fields=fields, record={"method_label": label}))
    with pytest.raises(UserError, match=message) as caught:
        all_results.read_accepted(tmp_path / "results")
    assert len(re.findall(r"unknown[^ ]*\.json", str(caught.value))) == 2, "both files are named"


def test_labels_that_agree_are_read(five: Five, submit: Submit, tmp_path: Path) -> None:
    for label, fields in (
        ("unknown:a=1,b=2", {"a": 1, "b": 2}), ("unknown", {"a": 0, "b": 0}), ("unknown:a=1", {"a": 1, "b": 0}),
    ):  # fmt: skip
        submit(five("unknown", fields=fields, record={"method_label": label}))
    (sheet,) = all_results.read_accepted(tmp_path / "results").sheets
    assert len(sheet.entries) == 3


@pytest.mark.parametrize(
    ("seeds", "missing", "message"),
    [
        ((0, 1, 2, 3), (), "seed 4 is missing. Run with --seeds 5"),
        ((0,), (), "seeds 1, 2, 3, 4 are missing. Run with --seeds 5"),
        ((5, 6, 7, 8, 9), (), "seeds 0, 1, 2, 3, 4 are missing. Run with --seeds 5"),
        ((0, 2, 3, 5, 7, 9), (), "seeds 1, 4 are missing. Run with --seeds 6"),
        ((0, 1, 3, 4, 5), (), "seed 2 is missing"),
        ((1, 2, 3), (4,), "seed 0 is missing"),
        ((0, 1, 2), (4,), "seed 3 is missing"),
    ],
)
def test_seeds_that_were_chosen_are_refused(
    make_published: MakeRun, submit: Submit, tmp_path: Path,
    seeds: tuple[int, ...], missing: tuple[int, ...], message: str,
) -> None:  # fmt: skip
    """The best 5 of 10 seeds of a method that is no better are "significantly" so in half of all cases."""
    runs = [make_published("cyborg", seed) for seed in seeds]
    runs += [make_published("cyborg", seed, status="failed") for seed in missing]
    with pytest.raises(UserError, match=message) as caught:
        submit(runs)
    assert "cyborg on cxr" in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_a_seed_taken_out_of_a_result_is_missed(results: Path) -> None:
    edit(results / METHOD / "cyborg.json", lambda content: content["seeds"].pop(3))
    with pytest.raises(UserError, match=r"cyborg\.json has seeds 0, 1, 2, 4; .* seed 3 is missing"):
        all_results.read_accepted(results)


def test_a_folder_may_be_called_as_its_owner_likes(five: Five, submit: Submit, tmp_path: Path) -> None:
    """Prepared data is prepared data, also in a folder whose name begins like that of data drawn by code."""
    facts = DataFacts(kind="prepared", revision="", pixel_hash="", train=4, validation=60, test=230, train_maps=2)
    for method, data in (("cross-entropy", "hospital"), ("cyborg", "standing-cxr"), ("difference", "standin-copy")):
        submit(five(method, data=data, record={"data": facts}))
    (sheet,) = all_results.read_accepted(tmp_path / "results").sheets
    assert len(sheet.entries) == 3
    assert not sheet.standin
    assert sheet.data == "hospital"
    submit(five("cyborg-shuffled", data="standin-copy", record={"data": facts}))
    assert all_results.read_accepted(tmp_path / "results").sheets[0].data == "standin-copy", "what most call it"


def test_one_claim_cannot_say_the_data_is_real(results: Path) -> None:
    edit(results / METHOD / "cyborg.json", lambda content: put(content, ("table", "kind"), "prepared"))
    with pytest.raises(UserError, match="says its data is"):
        all_results.read_accepted(results)
    edit(results / METHOD / "cyborg.json", lambda content: put(content, ("table", "kind"), "standin"))
    edit(results / METHOD / "cyborg.json", lambda content: put(content, ("table", "data"), "hospital"))
    with pytest.raises(UserError, match="says its data is"):
        all_results.read_accepted(results)


def test_one_method_is_of_one_kind(five: Five, submit: Submit, tmp_path: Path) -> None:
    submit(five("cyborg"))
    submit(five("cyborg", method_version=2, record={"method_kind": "control"}))
    with pytest.raises(UserError, match=r"says cyborg is (control|one-cam), .* says it is"):
        all_results.read_accepted(tmp_path / "results")


# -- Parquet files that would cost too much, or are no text ------------------------------------------------------


def parquet_with(rows: Any, name: str, cell: bytes, **options: Any) -> bytes:
    """``key.parquet`` with other bytes in every cell of one text column."""
    columns = {
        column: pa.array(rows[column].tolist(), pa.int8() if column == "label" else pa.string())
        for column in keys.ROW_COLUMNS
    }
    raw = pa.array([cell] * len(rows), pa.binary())
    columns[name] = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, store_schema=False, compression="zstd", **options)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        (b"\xff\xfe", {}, "damaged"),
        (b"\xff\xfe", {"use_dictionary": False}, "damaged"),
        (b"x" * 100_000, {}, "category of 100,000 bytes"),
        (b"x" * 100_000, {"use_dictionary": False}, "unpacks to"),
    ],
)
def test_texts_that_are_none_or_too_long_are_refused(
    results: Path, cell: bytes, options: dict[str, Any], message: str
) -> None:
    path = results / FOLDER / "key.parquet"
    rows = keys.parse_keys(path, path.read_bytes())
    with pytest.raises(UserError, match=message) as caught:
        keys.parse_keys(path, parquet_with(rows, "category", cell, **options))
    assert "key.parquet" in str(caught.value)


def test_margins_with_keys_that_are_no_text_are_refused() -> None:
    raw = pa.array([b"\xff" * 16] * 3, pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    sink = io.BytesIO()
    pq.write_table(pa.table({"key": text, "seed0": pa.array([0.0, 1.0, 2.0], pa.float32())}), sink, store_schema=False)
    with pytest.raises(UserError, match=r"x\.parquet is damaged"):
        keys.parse_margins(Path("x.parquet"), sink.getvalue(), [0], ["a", "b", "c"])


def test_a_list_of_digits_and_text_is_written_at_once(results: Path) -> None:
    claim = reading.read_claim(results / METHOD / "cyborg.json")
    hostile = claim.model_copy(update={"fields": {"a": [int("1" * 4000), "x"], "b": ["1" * 4000], "c": [1] * 4000}})
    text = files.model_json(hostile).decode()
    assert json.loads(text)["fields"]["c"] == [1] * 4000
    assert f"[{', '.join(['1'] * 4000)}]" in text
