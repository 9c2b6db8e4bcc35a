"""Which methods of a table are tested and ranked, and for what reason the others are not.

Nothing here depends on how a method is called or on which methods stand beside it, except that of two methods with
the same scores one is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

from divsal_bench.leaderboard.sheets.entries import Entry, Sheet
from divsal_bench.leaderboard.statistics import families

NO_TRAINING_MAPS = "no training maps"
TOO_FEW_SUBJECTS = "test subjects too few or unequal"


@dataclass(frozen=True)
class Outside:
    """Why a method has neither rank nor p.

    Attributes:
        reason: In a few words.
        identical_to: The method whose scores it repeats; "" otherwise.
        incomplete: A seed that was asked for has no result: what the others average to says too much.
    """

    reason: str
    identical_to: str = ""
    incomplete: bool = False


def outside(sheet: Sheet, references: Collection[str] | None = None) -> dict[str, Outside]:
    """The methods that have neither rank nor p, by label; the others are tested and, but for controls, ranked.

    Args:
        sheet: Of runs or of accepted results.
        references: Labels of the methods that alone can stand for others, so that no entry takes another's place: what
            is published can be copied under a new name. None where any method can.
    """
    twins = duplicates(sheet.entries, references)
    found = {}
    for entry in sheet.entries:
        why = why_outside(entry, twins.get(entry.label, ""), sheet.train_maps)
        if why is not None:
            found[entry.label] = why
    return found


def why_outside(entry: Entry, identical_to: str, train_maps: int | None) -> Outside | None:
    """Why one method stands outside; None where nothing speaks against it."""
    n = len(entry.seeds)
    if identical_to:
        return Outside(f"identical to {identical_to}", identical_to=identical_to)
    if entry.failed + entry.diverged:
        # What fails is no accident: a mean over the rest would praise it.
        return Outside(f"runs without a result: {lost(entry.failed, entry.diverged)}", incomplete=True)
    if entry.kind != "unguided" and train_maps == 0:
        return Outside(NO_TRAINING_MAPS)
    if n < families.MIN_SEEDS:
        return Outside(f"n = {n}, a test needs {families.MIN_SEEDS} seeds")
    if entry.seeds != tuple(range(n)):
        return Outside(f"seeds {seed_list(entry.seeds)}, not 0–{n - 1}: seeds that were chosen prove nothing")
    return None


def lost(failed: int, diverged: int) -> str:
    """``1 failed, 2 diverged``."""
    return ", ".join(f"{count} {word}" for count, word in ((failed, "failed"), (diverged, "diverged")) if count)


def seed_list(seeds: Sequence[int]) -> str:
    """``0–4``, or the numbers one by one where some are missing."""
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))


def typed_seeds(seeds: Sequence[int]) -> str:
    """The same as people type it: ``0-4``, or ``0,2``."""
    return seed_list(seeds).replace("–", "-").replace(", ", ",")


def duplicates(entries: Sequence[Entry], references: Collection[str] | None = None) -> dict[str, str]:
    """Methods whose margins are bit by bit those of another, to the one that stands for both.

    Two methods can be one on some data, such as class weights where the classes are equal. They are compared on the
    seeds that both have, where one has all of the other's.

    Args:
        references: Labels of the methods that alone can stand for others; None where any method can.

    Returns:
        Label to label. Cross-entropy stands for all others, then cyborg, then those without guidance, then the one
        with more seeds.
    """
    with_result = [entry for entry in entries if entry.seeds]
    margins = {
        entry.label: {seed: values.tobytes() for seed, values in zip(entry.seeds, entry.margins, strict=True)}
        for entry in with_result
    }
    first = references or ()
    kept: list[str] = []
    found: dict[str, str] = {}
    for entry in sorted(with_result, key=lambda entry: (entry.label not in first, *standing_order(entry))):
        own = margins[entry.label]
        twin = next((label for label in kept if are_identical(own, margins[label])), None)
        if twin is not None:
            found[entry.label] = twin
        elif references is None or entry.label in references:
            kept.append(entry.label)
    return found


def copies(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Labels of all pairs of methods that score every image alike at every seed that both have."""
    margins = [{seed: one.tobytes() for seed, one in zip(e.seeds, e.margins, strict=True)} for e in entries]
    places = [(i, j) for i, j in combinations(range(len(entries)), 2) if entries[i].seeds and entries[j].seeds]
    return [(entries[i].label, entries[j].label) for i, j in places if are_identical(margins[i], margins[j])]


def standing_order(entry: Entry) -> tuple[bool, bool, bool, bool, int, str]:
    """Which of several identical methods stands for all: the first in this order."""
    return (
        entry.label != families.BASELINE,
        entry.label != families.REFERENCE,
        entry.kind != "unguided",
        entry.kind == "control",
        -len(entry.seeds),
        entry.label,
    )


def are_identical(one: dict[int, bytes], other: dict[int, bytes]) -> bool:
    """Whether the seeds of one are among those of the other, with the same margins."""
    few, many = sorted((one, other), key=len)
    return few.keys() <= many.keys() and all(values == many[seed] for seed, values in few.items())
