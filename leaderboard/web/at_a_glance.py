"""What can be said of one table at a glance, and the numbers behind its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from divsal_bench.errors import plural
from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.tables import notes, notes_on_tests, wording
from divsal_bench.leaderboard.tables.schema import Table
from divsal_bench.leaderboard.web.board_columns import ranked_count
from divsal_bench.leaderboard.web.row_groups import default_order


@dataclass(frozen=True)
class Fact:
    """One entry of "What these numbers can and cannot say"."""

    term: str
    text: str


def glance(table: Table) -> list[str]:
    """What was found, in two sentences."""
    count = ranked_count(table)
    top = [row.label for row in sorted(table.rows, key=default_order) if row.rank and row.rank.top]
    if table.withheld:
        said = [f"No ranks and no p: {table.withheld}."]
    elif not count:
        said = [
            f"No ranks: they need two methods with {families.MIN_SEEDS} seeds or more, counted from 0, and no run "
            "without a result."
        ]
    elif not top:
        said = [f"Of {count} ranked methods none is in the top group: every candidate carries a mark."]
    elif len(top) == count:
        said = [
            f"None of the {count} ranked methods is separated from another: no difference is shown, which does not "
            "show that there is none."
        ]
    else:
        said = [f"Top group, {len(top)} of {count} ranked methods: {', '.join(top)}."]
    family = [test for test in table.tests if test.second == families.BASELINE and not test.withheld]
    family.sort(key=lambda test: -test.comparison.difference)
    if family:
        stars = [test for test in family if wording.is_significant(test.p_holm)]
        better = [f"{test.first} ({wording.signed_or_dash(test.comparison.difference)})" for test in stars
                  if test.comparison.difference > 0]  # fmt: skip
        worse = [f"{test.first} ({wording.signed_or_dash(test.comparison.difference)})" for test in stars
                 if test.comparison.difference <= 0]  # fmt: skip
        said.append(
            f"Against cross-entropy, {plural(len(family), 'test')}: "
            f"{'shown to be better: ' + ', '.join(better) if better else 'none is shown to be better'}; "
            f"{'shown to be worse: ' + ', '.join(worse) if worse else 'none is shown to be worse'}."
        )
    return said


def facts_behind(table: Table) -> list[Fact]:
    """The numbers behind the numbers."""
    counts = sorted({len(row.seeds) for row in table.rows})
    n = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
    failed, diverged = sum(row.failed for row in table.rows), sum(row.diverged for row in table.rows)
    sizes = [
        f"{notes_on_tests.QUESTIONS.get(name, name)}: {sum(test.family == name for test in table.tests)}"
        for name in family_names(table)
    ]
    return [
        Fact("Scope", f"What is shown holds for {notes.SCOPE}."),
        Fact("Seeds", f"n = {n} {'run' if n == '1' else 'runs'} a method"),
        Fact("Family sizes", f"{' · '.join(sizes)} ({notes_on_tests.dated(table)})" if sizes else "no test"),
        Fact("Pairs behind the ranks", f"{len(table.pairs)}" if table.pairs else "none"),
        Fact("Smallest visible effect", effects_to_see(table)),
        Fact("c⁺/v", seeds_or_subjects(table)),
        Fact("Runs without a result", f"{failed} failed, {diverged} diverged"),
        Fact("Training rows with a human map", share_of_marked_rows(table)),
        Fact("Newest result", table.date[:10] or "unknown"),
    ]


def family_names(table: Table) -> list[str]:
    """The families that have a test, in their order."""
    return list(dict.fromkeys(test.family for test in table.tests))


def adjusted_over(table: Table, label: str) -> str:
    """What the q of a method's conditions are adjusted over."""
    own = {name.removeprefix(families.OWN) for name in family_names(table) if name.startswith(families.OWN)}
    if label in own:
        return "the conditions of this method alone, which has a family of its own"
    return f"all methods and conditions of this table{' but those with a family of their own' if own else ''}"


def effects_to_see(table: Table) -> str:
    """The differences to cross-entropy that this table could have shown."""
    found = notes_on_tests.visible_effects([test for test in table.tests if test.second == families.BASELINE])
    return found[0].upper() + found[1:] if found else "not known: there is no test against cross-entropy"


def seeds_or_subjects(table: Table) -> str:
    """Whether more seeds or more test subjects would help."""
    return next(iter(notes_on_tests.about_subject_share(table)), "not known: nothing is compared with cross-entropy")


def share_of_marked_rows(table: Table) -> str:
    """How many rows of the training split people have marked."""
    if table.train_maps is None or not table.train:
        return "unknown"
    return f"{table.train_maps} of {table.train} ({wording.whole_percent(table.train_maps / table.train)})"
