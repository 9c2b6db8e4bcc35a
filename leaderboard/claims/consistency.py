"""What a claim must keep by itself: where its file belongs, and that its parts fit each other."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.claims.claim import Claim, Missing, SeedResult, TableFacts, proven_state, same_person
from divsal_bench.leaderboard.sheets.editions import reference
from divsal_bench.leaderboard.statistics.families import MIN_SEEDS


def data_set_folder(facts: TableFacts) -> PurePosixPath:
    """Folder of the data set, relative to the results folder: ``<task>/<fingerprint-8>``."""
    return PurePosixPath(facts.task, facts.fingerprint[:8])


def place(claim: Claim) -> PurePosixPath:
    """Where its file belongs, relative to the results folder."""
    facts = claim.table
    return data_set_folder(facts) / facts.protocol / facts.backbone / f"{stem(claim)}.json"


def stem(claim: Claim) -> str:
    """Its file's name: the method, and after dots what differs from the plain case.

    No method name holds a dot, so that two claims share a name only if all of this is the same.
    """
    parts = [claim.method]
    if claim.label != claim.method:
        readable = re.sub(r"[^A-Za-z0-9_.\-]+", "-", claim.label.partition(":")[2])[:60].strip("-.") or "fields"
        text = json.dumps(claim.fields, sort_keys=True)
        parts += [readable, hashlib.sha256(text.encode()).hexdigest()[:8]]
    if claim.version != 1:
        parts.append(f"v{claim.version}")
    if claim.table.head != "two-logit":
        parts.append(claim.table.head)
    return ".".join(parts)


def check_itself(claim: Claim, where: object) -> None:
    """Check what needs no other file; UserError if parts contradict each other."""
    if "." in claim.method:
        raise UserError(f"{where}: method {claim.method!r} has a dot; names hold letters, digits and hyphens")
    digest = claim.spec(0).group[-1]
    if digest != claim.table.digest:
        raise UserError(f"{where} was edited: its settings give the digest {digest}, not {claim.table.digest}")
    if claim.state != proven_state(claim):
        raise UserError(f"{where} says it is {claim.state!r}, its proofs show {proven_state(claim)!r}; submit it again")
    check_proofs(claim, where)
    parts: list[tuple[str, list[SeedResult | Missing]]] = [("", [*claim.seeds, *claim.missing])]
    if claim.reproduction is not None:
        parts.append(("reproduction, ", [*claim.reproduction.seeds, *claim.reproduction.missing]))
    taken: set[int] = set()
    for name, members in parts:
        for one in members:
            if one.seed in taken:
                raise UserError(f"{where}: {name}seed {one.seed} is there twice")
            taken.add(one.seed)
            if claim.spec(one.seed).run_id != one.run_id:
                raise UserError(
                    f"{where} was edited: {name}seed {one.seed}: its specification does not hash to run_id {one.run_id}"
                )
        numbers = [one.seed for one in members if isinstance(one, SeedResult)]
        if numbers != sorted(numbers):
            raise UserError(f"{where}: {name}seeds are not in ascending order")
    check_label(claim, where)
    check_all_seeds(seeds_of(claim.seeds, claim.missing), where)
    if claim.reproduction is not None:
        new = claim.reproduction
        check_new_seeds(claim, seeds_of(new.seeds, new.missing), where)
    if claim.reproduction is not None and same_person(claim.reproduction.by, claim.submitter):
        raise UserError(f"{where}: {claim.submitter} cannot reproduce their own result")


def seeds_of(done: Sequence[SeedResult], missing: Sequence[Missing]) -> list[int]:
    """All seeds that were run, with a result or without, ascending."""
    return sorted([one.seed for one in done] + [one.seed for one in missing])


def check_all_seeds(seeds: Sequence[int], where: object) -> None:
    """Refuse seeds other than 0 … n − 1, and fewer than five: the best 5 of 10 with nothing to find are "significant"
    in half of all cases.

    Args:
        seeds: Of all runs, with a result or without, ascending.

    Raises:
        UserError: A seed is missing, with what to run.
    """
    wanted = range(max(MIN_SEEDS, len(seeds)))
    if list(seeds) == list(wanted):
        return
    lacking = sorted(set(wanted) - set(seeds))
    raise UserError(
        f"{where} has {seeds_listed(seeds)}; a result has all seeds from 0 on, at least {MIN_SEEDS}, so that nobody "
        f"chooses among them: {seeds_listed(lacking)} {'is' if len(lacking) == 1 else 'are'} missing. Run with --seeds "
        f"{max(MIN_SEEDS, len(seeds))}, and submit every run, failed and diverged ones too"
    )


def check_new_seeds(claim: Claim, seeds: Sequence[int], where: object) -> None:
    """Refuse a reproduction with seeds other than those that follow the claim's: nobody chooses among them either.

    Args:
        claim: Its seeds are 0 … n − 1.
        seeds: The new ones, with a result or without, ascending.

    Raises:
        UserError: Another seed.
    """
    first = len(claim.seeds) + len(claim.missing)
    wanted = list(range(first, first + len(seeds)))
    if list(seeds) != wanted:
        raise UserError(
            f"{where}: the new seeds are {seeds_listed(seeds)}; those that follow the claim's are "
            f"{seeds_listed(wanted)}: train them with --seeds {first}-{wanted[-1]}, "
            "and give every run, failed and diverged ones too"
        )


def seeds_listed(seeds: Sequence[int]) -> str:
    """``seed 3``, ``seeds 0, 1, 4``; a long list is cut."""
    text = ", ".join(map(str, seeds[:12])) + (f", … ({len(seeds)} in all)" if len(seeds) > 12 else "")
    return f"seed{'s' * (len(seeds) != 1)} {text or 'none'}"


def check_label(claim: Claim, where: object) -> None:
    """Check that a claim's label is its method with exactly the fields that differ from the defaults.

    Of a method that an edition lists the defaults are known. Of another one the label tells them: every field that
    it does not name has its default; see :class:`Defaults`.

    Raises:
        UserError: The label says something else than the fields.
    """
    known = reference(claim.method, claim.version)
    if known is None:
        named_fields(claim, where)
        return
    if claim.fields.keys() != known.fields.keys():
        raise UserError(
            f"{where}: {claim.method} has the fields {', '.join(known.fields) or 'none'}, the claim has "
            f"{', '.join(claim.fields)[:200] or 'none'}; submit it again"
        )
    if claim.kind != known.kind:
        raise UserError(f"{where} says {claim.method} is {claim.kind}, the method is {known.kind}; submit it again")
    label = label_of(claim.method, claim.fields, known.fields)
    if claim.label != label:
        raise UserError(f"{where} is called {claim.label!r}, its fields make it {label[:200]!r}; submit it again")


def label_of(method: str, fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The method's name with the fields that differ from its defaults."""
    changed = [f"{name}={fields[name]}" for name, value in defaults.items() if fields[name] != value]
    return method + (":" + ",".join(changed) if changed else "")


def named_fields(claim: Claim, where: object) -> set[str]:
    """The fields that a label names; UserError if they are not the claim's, or it begins with another method."""
    if claim.label == claim.method:
        return set()
    method, _, rest = claim.label.partition(":")
    if method != claim.method:
        raise UserError(f"{where}: label {claim.label!r} does not begin with the method's name {claim.method!r}")
    found: set[str] = set()
    while True:
        pieces = {name: f"{name}={value}" for name, value in claim.fields.items() if name not in found}
        fitting = [name for name, piece in pieces.items() if rest == piece or rest.startswith(f"{piece},")]
        if not fitting:
            raise UserError(
                f"{where}: label {claim.label[:200]!r} says {rest[:100]!r}, which its fields do not; submit it again"
            )
        name = max(fitting, key=lambda one: len(pieces[one]))
        found.add(name)
        if rest == pieces[name]:
            return found
        rest = rest[len(pieces[name]) + 1 :]


class Defaults:
    """What the labels of many claims say of the defaults of methods that no edition lists.

    A field that a label does not name has its default: two claims that imply different defaults cannot both be right.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.names: dict[tuple[str, int], tuple[set[str], object]] = {}
        self.implied: dict[tuple[str, int, str], tuple[Any, object]] = {}
        self.named: dict[tuple[str, int, str], list[tuple[Any, object]]] = {}

    def add(self, claim: Claim, where: object) -> None:
        """Compare one more claim with those before it.

        Raises:
            UserError: Two labels contradict each other, or two claims of one method have fields of other names.
        """
        if reference(claim.method, claim.version) is not None:
            return
        names, first = self.names.setdefault((claim.method, claim.version), (set(claim.fields), where))
        if names != set(claim.fields):
            raise UserError(
                f"{where} and {first} are of {claim.method}, version {claim.version}, with fields of other names; "
                "submit the wrong one again"
            )
        named = named_fields(claim, where)
        for name, value in claim.fields.items():
            key = (claim.method, claim.version, name)
            if name in named:
                self.named.setdefault(key, []).append((value, where))
            elif key not in self.implied:
                self.implied[key] = (value, where)
            default, there = self.implied.get(key, (value, where))
            wrong = [place for other, place in self.named.get(key, []) if key in self.implied and other == default]
            if wrong or (name not in named and value != default):
                raise UserError(
                    f"{there} says by its label that {name}={str(default)[:80]} is the default of {claim.method}, "
                    f"{wrong[0] if wrong else where} says by its own that it is not; submit the wrong one again"
                )


def check_proofs(claim: Claim, where: object) -> None:
    """UserError where the claim's margins were changed since its proofs."""
    proved = {}
    if claim.verified is not None:
        proved["verified"] = claim.verified.margins_sha256
    if claim.reproduction is not None:
        proved["reproduction"] = claim.reproduction.claim_margins_sha256
    for name, sha256 in proved.items():
        if sha256 != claim.margins_sha256:
            raise UserError(
                f"{where}: {name} is of margins with sha256 {sha256[:12]}…, the claim's are "
                f"{claim.margins_sha256[:12]}…; submit it again"
            )
