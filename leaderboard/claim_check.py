"""What a claim must keep by itself: where its file belongs, and that its parts fit each other."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.claim import Claim, Missing, SeedResult, TableFacts, same_person, state_of


def folder_of(facts: TableFacts) -> PurePosixPath:
    """Folder of the data set, relative to the results folder: ``<task>/<fingerprint-8>``."""
    return PurePosixPath(facts.task, facts.fingerprint[:8])


def place(claim: Claim) -> PurePosixPath:
    """Where its file belongs, relative to the results folder."""
    facts = claim.table
    return folder_of(facts) / facts.protocol / facts.backbone / f"{stem(claim)}.json"


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
    """Check what needs no other file.

    Raises:
        UserError: Parts that contradict each other.
    """
    if claim.label != claim.method and not claim.label.startswith(f"{claim.method}:"):
        raise UserError(f"{where}: label {claim.label!r} does not begin with the method's name {claim.method!r}")
    if "." in claim.method:
        raise UserError(f"{where}: method {claim.method!r} has a dot; names hold letters, digits and hyphens")
    digest = claim.spec(0).group[-1]
    if digest != claim.table.digest:
        raise UserError(f"{where} was edited: its settings give the digest {digest}, not {claim.table.digest}")
    if claim.state != state_of(claim):
        raise UserError(f"{where} says it is {claim.state!r}, its proofs show {state_of(claim)!r}; submit it again")
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
    if claim.reproduction is not None and same_person(claim.reproduction.by, claim.submitter):
        raise UserError(f"{where}: {claim.submitter} cannot reproduce their own result")


def check_proofs(claim: Claim, where: object) -> None:
    """Check that the claim's margins are those that its proofs are of.

    Raises:
        UserError: They were changed since.
    """
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
