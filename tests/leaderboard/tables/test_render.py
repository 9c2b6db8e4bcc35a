"""Tables as text: ranks, exploratory conditions, and LaTeX that compiles whatever a method is called."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest
from drawn_boards import METHODS, drawn_table

from divsal_bench.leaderboard.tables import latex, readable, render, wording
from divsal_bench.leaderboard.tables.schema import Table

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def table() -> Table:
    return drawn_table(methods=METHODS[:8])


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_ranks_have_a_column_where_there_are_any(table: Table, form: render.Format) -> None:
    (row,) = [row for row in table.rows if row.label == "cyborg"]
    assert row.rank is not None
    lines = render.render_tables([table], form).splitlines()
    assert any(re.search(r"method\W+rank\W+in-domain", line) for line in lines)
    assert any(re.match(rf"\W*cyborg\W+{row.rank.low}–{row.rank.high}\W", line) for line in lines)
    preview = drawn_table(methods=[replace(fake, seeds=3) for fake in METHODS[:2]])
    assert any(re.search(r"method\W+in-domain", line) for line in render.render_tables([preview], form).splitlines())


def test_sharing_ranks_is_not_said_to_mean_that_nothing_separates() -> None:
    # Only the first and the last of three are separated: ranks 2–3 and 1–2.
    fakes = [replace(fake, outside=outside) for fake, outside in zip(METHODS[:3], (1.15, 1.2, 1.2), strict=True)]
    found = drawn_table(methods=fakes)
    rank = {row.label: row.rank for row in found.rows if row.rank}
    sharing = [
        (pair.first, pair.second)
        for pair in found.pairs
        if pair.p_holm <= 0.05
        and max(rank[pair.first].low, rank[pair.second].low) <= min(rank[pair.first].high, rank[pair.second].high)
    ]
    assert sharing, rank
    (note,) = [note for note in readable.more_notes(found) if note.startswith("rank:")]
    assert "two that share ranks may be too" in note


def test_conditions_that_differ_are_named_below_the_table(table: Table) -> None:
    (line,) = [line for line in render.render_tables([table], "terminal").splitlines() if "Exploratory" in line]
    for name, *_ in table.conditions:
        for row in table.rows:
            (cell,) = [cell for cell in row.conditions if cell.condition == name]
            if cell.q is None or cell.difference is None:
                continue
            part = next((part for part in line.split("; ") if re.search(rf"(^|: ){name}: ", part)), "")
            assert (row.label in part) == (cell.q <= 0.05), (name, row.label)
    tested = sum(cell.q is not None for row in table.rows for cell in row.conditions)
    assert f"Benjamini–Hochberg over {tested} tests" in line


def test_latex_has_a_row_of_numbers_and_a_row_of_intervals_for_each_method(table: Table) -> None:
    text = render.render_tables([table], "latex")
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 2 * len(table.rows)
    columns = text.partition(r"\begin{tabular}{")[2].partition("}")[0]
    assert all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 for line in body)
    assert all(line.endswith(r" \\") for line in body)
    row = table.rows[1]
    assert rf"{row.open_set.seeds.mean:.3f} $\pm$ {row.open_set.seeds.sd:.3f}" in text
    for part in (r"\toprule", r"\begin{table}", r"\end{table}", r"\caption{"):
        assert text.count(part) == 1
    assert "siunitx" not in text


def test_latex_escapes_every_character_that_tex_reads_otherwise(table: Table) -> None:
    label = "[*a_b & 100% #1 {x} $y$ \\input{/etc/passwd} ~^ --\nend"
    rows = tuple(replace(row, label=label) if row.label == "cyborg" else row for row in table.rows)
    text = render.render_tables([replace(table, rows=rows)], "latex")
    (line,) = [line for line in text.splitlines() if "passwd" in line and " & " in line]
    assert line.startswith(
        r"{{[}{*}a\_b \& 100\% \#1 \{x\} \$y\$ \textbackslash{}input\{/etc/passwd\} "
        r"\textasciitilde{}\textasciicircum{} -{}- end} &"
    )


def test_latex_writes_minus_signs_and_keeps_hyphens_in_words() -> None:
    assert latex.latex("−0.1") == "$-$0.1"
    assert latex.latex("cross-entropy -0.012 [-0.3, +0.2]") == "cross-entropy $-$0.012 {[}$-$0.3, +0.2{]}"
    assert latex.latex("0.5 ± 0.1, 1–4") == r"0.5 $\pm$ 0.1, 1\textendash{}4"


@pytest.mark.parametrize("label", ["=HYPERLINK(1)|<b>x</b>", "@team|`x`", "-2+3|[x](https://e.vil)"])
def test_a_label_from_outside_acts_neither_in_a_spreadsheet_nor_on_a_page(table: Table, label: str) -> None:
    hostile = replace(table, data=label, rows=(replace(table.rows[0], label=label), *table.rows[1:]), notes=(label,))
    (first, *_) = csv.DictReader(io.StringIO(render.render_tables([hostile], "csv")))
    assert first["method"] == first["data"] == f"'{label}"
    text = render.render_tables([hostile], "markdown")
    assert label not in text
    for part in ("|<", "|`", "|[", "<b>", "](h", "`x`"):
        assert part not in text.replace("\\" + part[0], "")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, "every row has the same cells"


@pytest.mark.parametrize(
    ("value", "text"), [(-0.0004, "0.000"), (0.0004, "0.000"), (0.0, "0.000"), (-0.0006, "-0.001")]
)
def test_what_rounds_to_zero_has_no_sign(value: float, text: str) -> None:
    """A limit of -0.0004 that is printed as +0.000 looks as if the interval left out 0."""
    assert wording.with_sign(value) == text
