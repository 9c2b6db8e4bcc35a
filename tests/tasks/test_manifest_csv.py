import os
import tracemalloc

import pytest

from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.errors import UserError, refusal
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER

pytestmark = pytest.mark.fast

HEADER = "image,label,split,source,subject"


def read(task, tmp_path, text, options=None, encoding="utf-8"):
    (tmp_path / "manifest.csv").write_bytes(text.encode(encoding))
    delivery = ADAPTER.read(tmp_path, task, options or {})
    if delivery.mistakes:
        raise refusal(delivery.mistakes)
    return list(delivery.rows), delivery


def test_one_row(task, tmp_path):
    text = f"{HEADER},saliency,saliency_kind,category,sample_id\n"
    text += "a/./b.png,Abnormal,VAL,s,p,m.png,Box,tumour,id 1\n"
    (row,), _ = read(task, tmp_path, text)
    assert row.where == "manifest.csv row 2 (a/./b.png)"
    assert (row.sample_id, row.image, row.label, row.split) == ("id 1", tmp_path / "a/b.png", 1, "validation")
    assert (row.source, row.subject, row.category) == ("s", "p", "tumour")
    assert (row.saliency, row.saliency_kind) == (tmp_path / "m.png", "box")


def test_defaults(task, tmp_path):
    rows, delivery = read(task, tmp_path, f"{HEADER}\na/./b.png,abnormal,train,s,p\nc.png,normal,test,s,q\n")
    assert [(row.sample_id, row.category) for row in rows] == [("a/b.png", "abnormal"), ("c.png", "")]
    assert [(row.saliency, row.saliency_kind) for row in rows] == [(None, "none")] * 2
    assert delivery.terms == {"s": SourceTerms()}
    assert delivery.notices == []


def test_an_empty_category_among_named_ones_stays_empty_so_that_no_condition_is_invented(task, tmp_path):
    text = f"{HEADER},category\na.png,abnormal,train,s,p,print\nb.png,abnormal,test,s,q,\n"
    rows, _ = read(task, tmp_path, text)
    assert [row.category for row in rows] == ["print", ""]


def test_columns_are_known_whatever_their_capitals(task, tmp_path):
    text = f"{HEADER.upper()},Category\na.png,abnormal,train,s,p,print\n"
    rows, _ = read(task, tmp_path, text)
    assert [(row.category, row.source, row.subject) for row in rows] == [("print", "s", "p")]


@pytest.mark.parametrize("name", ["Saliancy", "catagory", "saliency kind"])
def test_a_misspelt_column_is_refused_with_the_word_that_was_meant(task, tmp_path, name):
    with pytest.raises(UserError, match=f"column '{name}'; did you mean '(saliency|saliency_kind|category)'"):
        read(task, tmp_path, f"{HEADER},{name}\na.png,normal,train,s,p,\n")


@pytest.mark.parametrize("name", ["view", "age", "sources", "note"])
def test_other_columns_are_left_alone(task, tmp_path, name):
    assert len(read(task, tmp_path, f"{HEADER},{name}\na.png,normal,train,s,p,x\n")[0]) == 1


def test_a_kind_of_map_without_a_map_is_refused(task, tmp_path):
    with pytest.raises(UserError, match="says saliency_kind 'mask' but names no map"):
        read(task, tmp_path, f"{HEADER},saliency,saliency_kind\na.png,normal,train,s,p,,mask\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_as_spreadsheets_write_it(task, tmp_path, encoding, end):
    lines = [
        " image , label,split ,source,subject",
        " a.png , abnormal ,train, Zürich ,p ",
        "",
        ",,,,",
        "b.png,normal,val,s,q",
    ]
    rows, _ = read(task, tmp_path, end.join(lines), encoding=encoding)
    assert [(row.image.name, row.label, row.source) for row in rows] == [
        ("a.png", 1, "Zürich"),
        ("b.png", 0, "s"),
    ]
    assert rows[1].where == "manifest.csv row 5 (b.png)"


def test_rows_are_counted_as_an_editor_counts_lines(task, tmp_path):
    text = f'{HEADER},note\na.png,normal,train,s,p,"three\nlines\nhere"\nb.png,normal,dev,s,p,\n'
    with pytest.raises(UserError, match=r"manifest\.csv row 5 \(b\.png\)"):
        read(task, tmp_path, text)


def test_a_file_of_any_name(task, tmp_path):
    (tmp_path / "list.csv").write_text(f"{HEADER}\na.png,normal,train,s,p\n")
    (row,) = ADAPTER.read(tmp_path / "list.csv", task, {}).rows
    assert row.where == "list.csv row 2 (a.png)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'image'"),
        ("image,label,split,source\n", "has no column 'subject'"),
        ("image|label|split|source|subject\n", "has no column 'image'"),
        (f"{HEADER},label\n", "two columns named 'label'"),
        (f"{HEADER}\na.png,normal,train,s\n", "row 2: it has 4 cells, the header has 5"),
        (f"{HEADER}\na.png,normal,train,s,p,x\n", "row 2: it has 6 cells"),
        (
            f"{HEADER}\na.png,normal,dev,s,p\n",
            r"manifest\.csv row 2 \(a\.png\): unknown split 'dev'.*Known: .*train",
        ),
        (
            f"{HEADER}\na.png,norml,train,s,p\n",
            r"row 2 .*'norml'. Did you mean 'normal'\? Known: abnormal, normal",
        ),
        (f"{HEADER}\na.png,0,train,s,p\n", "unknown label .*'0'.* Known: abnormal, normal"),
        (f"{HEADER}\n,normal,train,s,p\n", "row 2: image is empty"),
        (f"{HEADER}\na.png,normal,train,s,\n", r"row 2 \(a\.png\): subject is empty"),
        (f"{HEADER},saliency\na.png,normal,train,s,p,m.png\n", "names a map but its saliency_kind is ''"),
        (f"{HEADER},saliency,saliency_kind\na.png,normal,train,s,p,m.png,none\n", "saliency_kind is 'none'"),
        (
            f"{HEADER},saliency,saliency_kind\na.png,normal,train,s,p,m.png,maks\n",
            "'maks'. Did you mean 'mask'",
        ),
        (f"{HEADER},label_conflict\na.png,normal,train,s,p,yes\n", "label_conflict is 'yes'"),
        (f"{HEADER},redistribute\na.png,normal,train,s,p,maybe\n", "unknown permission .*'maybe'"),
        (f'{HEADER}\na.png,"normal,train,s,p\n', "line 2.*double quotes"),
    ],
)
def test_refusals(task, tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read(task, tmp_path, text)


def test_other_encodings_and_places(task, tmp_path):
    with pytest.raises(UserError, match="save it as UTF-8"):
        read(task, tmp_path, f"{HEADER}\na.png,normal,train,Zürich,p\n", encoding="latin-1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no such file"):
        ADAPTER.read(tmp_path / "empty", task, {})


def test_label_conflicts(task, tmp_path):
    text = f"{HEADER},label_conflict\na.png,normal,train,s,p,1\n"
    text += "b.png,normal,train,s,p,0\nc.png,normal,train,s,p,\n"
    rows, delivery = read(task, tmp_path, text)
    assert [row.image.name for row in rows] == ["b.png", "c.png"]
    assert delivery.notices[0].startswith("1 rows with label_conflict=1 were left out")
    rows, delivery = read(task, tmp_path, text, {"label-conflict": "keep"})
    assert len(rows) == 3
    assert delivery.notices == []
    with pytest.raises(UserError, match="unknown value of label-conflict 'drop'"):
        read(task, tmp_path, text, {"label-conflict": "drop"})


def test_terms_of_a_source_are_the_strictest_of_its_rows(task, tmp_path):
    text = (
        f"{HEADER},licence,redistribute,redistribute_images\n"
        "a.png,normal,train,s,p,CC BY 4.0,yes,\nb.png,normal,train,s,q,CC0,unknown,no\n"
        "c.png,normal,train,s,q,CC BY 4.0,yes,yes\nd.png,normal,train,t,r,,yes,no\n"
    )
    _, delivery = read(task, tmp_path, text)
    assert delivery.terms == {
        "s": SourceTerms("CC BY 4.0; CC0", "no", "unknown", "unknown"),
        "t": SourceTerms("", "no", "yes", "yes"),
    }


@pytest.mark.parametrize(("sign", "word"), [(",", ""), (";", "semicolons"), ("\t", "tabs")])
@pytest.mark.parametrize("named", [False, True])
def test_columns_as_spreadsheets_of_all_countries_separate_them(task, tmp_path, sign, word, named):
    lines = [
        HEADER.replace(",", sign) + f"{sign}category",
        sign.join(["a.png", "abnormal", "train", "s, t; u\tv", "p", "x"]),
    ]
    lines[1] = lines[1].replace("s, t; u\tv", '"s, t; u v"')
    text = (f"sep={sign}\n" if named else "") + "\r\n".join(lines) + "\r\n"
    rows, delivery = read(task, tmp_path, text, encoding="utf-8-sig")
    assert [(row.source, row.category) for row in rows] == [("s, t; u v", "x")]
    assert rows[0].where == f"manifest.csv row {2 + named} (a.png)"
    assert delivery.notices == ([f"manifest.csv has {word} between its columns, and is read so."] if word else [])


def test_paths_of_windows_are_read_where_no_file_is_called_so(task, tmp_path):
    (tmp_path / "b\\c.png").touch()
    text = (
        f"{HEADER},saliency,saliency_kind\nimg\\a\\1.png,normal,train,s,p,maps\\1.png,mask\nb\\c.png,normal,val,s,q,,\n"
    )
    rows, _ = read(task, tmp_path, text + "C:\\x\\2.png,normal,val,s,q,,\n")
    assert [row.image for row in rows] == [tmp_path / "img/a/1.png", tmp_path / "b\\c.png", tmp_path / "C:\\x\\2.png"]
    assert (rows[0].sample_id, rows[0].saliency) == ("img/a/1.png", tmp_path / "maps/1.png")


def test_names_are_written_with_composed_letters_so_that_their_terms_are_found(task, tmp_path):
    text = f"{HEADER},redistribute\na.png,normal,train,Zu\u0308rich,p,yes\nb.png,normal,test,Z\u00fcrich,q,no\n"
    rows, delivery = read(task, tmp_path, text)
    assert {row.source for row in rows} == {"Z\u00fcrich"}
    assert delivery.terms == {"Z\u00fcrich": SourceTerms("", "no", "no", "no")}


def test_a_manifest_that_is_no_regular_file(task, tmp_path):
    os.mkfifo(tmp_path / "manifest.csv")
    for source in (tmp_path, tmp_path / "manifest.csv"):
        with pytest.raises(UserError, match="it is not a regular file"):
            ADAPTER.read(source, task, {})


def test_all_mistakes_are_collected(task, tmp_path):
    text = f"{HEADER},label_conflict\n,normal,dev,,,\na.png,x,train,s,p,yes\nb.png\n"
    (tmp_path / "manifest.csv").write_text(text)
    delivery = ADAPTER.read(tmp_path, task, {})
    assert [mistake.kind for mistake in delivery.mistakes] == [
        "empty image", "empty source", "empty subject", "split", "label_conflict", "label", "cells",
    ]  # fmt: skip
    assert delivery.rows == []


def test_a_manifest_of_very_many_columns_is_refused_at_once(task, tmp_path):
    with pytest.raises(UserError, match=r"has 100,005 columns, 10,000 are allowed"):
        read(task, tmp_path, HEADER + "".join(f",{number}" for number in range(100_000)) + "\n")


def test_a_file_without_line_ends_is_not_read_whole(task, tmp_path):
    (tmp_path / "manifest.csv").write_text(f"{HEADER}\n")
    os.truncate(tmp_path / "manifest.csv", 2**32)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"has a line of 4,194,304 or more characters; is it a CSV file\?"):
        ADAPTER.read(tmp_path, task, {})
    assert tracemalloc.get_traced_memory()[1] < 2**28
    tracemalloc.stop()


def test_a_path_too_long_to_look_for_is_left_to_whoever_opens_it(task, tmp_path):
    (row,), _ = read(task, tmp_path, HEADER + "\n" + "a\\" * 3000 + "b.png,normal,train,s,p\n")
    assert row.image.name == "b.png"
