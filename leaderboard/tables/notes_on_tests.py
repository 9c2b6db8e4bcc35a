"""What is said below a table of its tests: what the p-values are, and how much they could have shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.tables.wording import signed_ends, whole_percent, with_sign

if TYPE_CHECKING:
    from divsal_bench.leaderboard.tables.schema import Table, Test

#: What the tests of each family ask; other families carry their question as their name.
QUESTIONS = {
    "baseline": "Each method − cross-entropy",
    "divergence": "Each two-cam method − cyborg",
    "controls": "cyborg − each control",
}


def about_tests(table: Table) -> Iterable[str]:
    """What the p-values are, and how much they could have shown."""
    family = [test for test in table.tests if test.family == "baseline"]
    decided = [test for test in family if not test.withheld]
    if decided:
        effect = visible_effects(decided)
        yield (
            f"p: Obuchowski–Rockette against {families.BASELINE} on {table.primary} AUROC, {how_adjusted(len(family))} "
            f"({dated(table)})."
            + (f" {effect[0].upper()}{effect[1:]}." if effect else "")
            + (" An interval is of one comparison: it can leave out 0 where the adjusted p is above .05."
               if len(family) > 1 else "")
        )  # fmt: skip
    others = dict.fromkeys(test.family for test in table.tests if test.family != "baseline")
    shown = [name for name in others if any(t.family == name and not t.withheld for t in table.tests)]
    for name in shown:
        yield every_test([test for test in table.tests if test.family == name])
    number = len(shown) + bool(decided)
    if number:
        more = f"; in one of the {number} families of this table, more" if number > 1 else ""
        yield (
            f"Of boards on which there is nothing to find, at most about {whole_percent(families.ALPHA)} get a false * "
            f"in a given family{more}."
        )
    if any(test.comparison.status == "undefined" and not test.withheld for test in table.tests):
        yield (
            "undefined: the difference is the same at every seed and owed to no test subject more than to another; how "
            "far others would differ cannot be estimated."
        )
    if any(test.comparison.status == "equal" and not test.withheld for test in table.tests):
        yield (
            "A difference that is 0 at every seed and owed to no test subject more than to another has p 1 and no "
            "interval: how far others would differ cannot be estimated."
        )
    yield from about_subject_share(table)


def how_adjusted(size: int) -> str:
    """How the p of a family of this size is adjusted."""
    return f"Holm over the {size} tests of its family" if size > 1 else "one test, so not adjusted"


def dated(table: Table) -> str:
    """Up to when a family was counted."""
    if table.edition:
        return f"edition {table.edition}"
    return f"results up to {table.date[:10]}" if table.date else "date unknown"


def visible_effects(tests: Sequence[Test]) -> str:
    """The smallest differences that these tests could be expected to show, and how well that is known."""
    known = [test for test in tests if not math.isnan(test.smallest_effect)]
    if not known:
        return ""
    low, high = (f"{pick(test.smallest_effect for test in known):.3f}" for pick in (min, max))
    span = low if low == high else f"{low} to {high} (by method)"
    ends = min(test.smallest_low for test in known), max(test.smallest_high for test in known)
    return (
        f"differences below about {span} cannot be expected to show (80 % power; an estimate, "
        f"95 % range {ends[0]:.3f} to {ends[1]:.3f})"
    )


def every_test(tests: Sequence[Test]) -> str:
    """One line with every test of a family."""
    name = tests[0].family
    each = []
    for test in tests:
        who = {"divergence": test.first, "controls": test.second}.get(name, f"{test.first} − {test.second}")
        c = test.comparison
        interval = "" if math.isnan(c.low) else f" {signed_ends(c.low, c.high)}"
        each.append(f"{who} {with_sign(c.difference)}{interval} {p_of(test)}")
    return f"{QUESTIONS.get(name, name)}, {how_adjusted(len(tests))}: {'; '.join(each)}."


def p_of(test: Test) -> str:
    """``p 0.012*``, or why there is none."""
    if test.withheld:
        return "not tested"
    if math.isnan(test.p_holm):
        return "p undefined"
    star = "*" if test.p_holm <= families.ALPHA else ""
    return (f"p {test.p_holm:.3f}" if test.p_holm >= 0.001 else "p <.001") + star


def about_subject_share(table: Table) -> Iterable[str]:
    """Whether more seeds or more test subjects would narrow the intervals."""
    if math.isnan(table.subject_share):
        return
    compared = any(one.difference is not None for one in table.rows)
    of = f"the differences to {families.BASELINE}" if compared else "the methods' means"
    yield what_subject_share_means(table.subject_share, f"c⁺/v, median over {of}")


def what_subject_share_means(share: float, name: str) -> str:
    """What follows from c⁺/v; at one half more of either would narrow an interval alike."""
    more, less = ("test subjects", "seeds") if share > 0.5 else ("seeds", "test subjects")
    return (
        f"{name}: {share:.2f}, the share of the variance that is due to the test subjects, the rest to the seeds. "
        f"More {more} would narrow the intervals sooner than more {less}."
    )
