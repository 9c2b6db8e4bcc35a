"""Standings: what each proof needs, that both outcomes are kept, and that an honest result rarely misses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import stats

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.accepted import all_results, proofs, reading
from divsal_bench.leaderboard.accepted.publishing import Publication, PublicData, publication
from divsal_bench.leaderboard.accepted.reading import Accepted
from divsal_bench.leaderboard.accepted.submission import Submitted
from divsal_bench.leaderboard.claims import claim, files, keys
from divsal_bench.leaderboard.claims.claim import Claim, Verified
from divsal_bench.runs.reading import Run

MakeRun = Callable[..., Run]
Submit = Callable[..., list[Submitted]]


@pytest.fixture
def known(reproduction: tuple[Path, list[Run], list[Run]], tmp_path: Path) -> Accepted:
    """Ann's claim with five seeds, in a folder of one's own."""
    results = shutil.copytree(reproduction[0], tmp_path / "results")
    return reading.open_result(next(Path(results).rglob("cyborg.json")))


@pytest.fixture
def honest(reproduction: tuple[Path, list[Run], list[Run]]) -> list[Run]:
    """Five new seeds of the same method."""
    return reproduction[1]


@pytest.fixture
def weak(reproduction: tuple[Path, list[Run], list[Run]]) -> list[Run]:
    """Five new seeds that are much worse."""
    return reproduction[2]


def published(runs: list[Run], data: PublicData) -> Publication:
    return publication(runs, data, lambda run: f"mine/seed{run.spec.seed}/model.safetensors")


def reproduced(known: Accepted, runs: list[Run], data: PublicData, by: str = "Bob") -> Claim:
    """Store a reproduction beside the claim, as the command does."""
    found = published(runs, data)
    new = proofs.with_reproduction(known.claim, found, runs, by, "2026-02-01", known.path)
    second = known.path.with_name(known.path.stem + files.NEW_MARGINS)
    files.write_all({second: found.margin_bytes(), known.path: files.model_json(new)})
    return new


def test_an_honest_result_misses_in_about_five_percent() -> None:
    draw = np.random.default_rng(0)
    for n, m, sd in ((3, 5, 0.02), (5, 5, 0.05), (10, 5, 0.01), (5, 20, 0.03)):
        boards = 4000
        claimed, new = draw.normal(0.8, sd, (boards, n)), draw.normal(0.8, sd, (boards, m))
        missed = np.mean([not proofs.closeness(a, b).holds for a, b in zip(claimed, new, strict=True)])
        # Never more than 5 %; the least tolerance can only make it less.
        assert missed == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / boards))


@pytest.mark.parametrize(
    ("n", "m", "sd"), [(5, 5, 0.02), (10, 5, 0.01), (5, 20, 0.03), (5, 5, 1e-4), (10, 10, 4e-4), (2, 5, 0.02)]
)
def test_a_miss_of_the_size_that_is_said_is_noticed_in_four_of_five_cases(n: int, m: int, sd: float) -> None:
    """With the least tolerance in force, too (sd 1e-4 and 4e-4)."""
    draw = np.random.default_rng(1)
    typical = np.linspace(-1, 1, n)
    size = proofs.noticed_miss(list(0.8 + sd * typical / np.std(typical, ddof=1)), m)
    boards = 3000
    claimed, new = draw.normal(0.8, sd, (boards, n)), draw.normal(0.8 - size, sd, (boards, m))
    noticed = np.mean([not proofs.closeness(a, b).holds for a, b in zip(claimed, new, strict=True)])
    assert noticed == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / boards))


def test_seeds_that_do_not_differ_leave_only_the_least_tolerance() -> None:
    assert proofs.noticed_miss([0.8] * 5, 5) == proofs.LEAST_TOLERANCE


def test_the_tolerance_is_the_formula_and_at_least_a_thousandth() -> None:
    claimed, new = [0.80, 0.82, 0.81, 0.84], [0.8] * 6
    found = proofs.closeness(claimed, new)
    assert found.tolerance == pytest.approx(stats.t.ppf(0.975, 3) * np.std(claimed, ddof=1) * np.sqrt(1 / 4 + 1 / 6))
    assert proofs.closeness([0.8, 0.8], [0.8009] * 5) == proofs.Closeness(0.8, pytest.approx(0.8009), 0.001)
    assert proofs.closeness([0.8, 0.8], [0.8009] * 5).holds
    assert not proofs.closeness([0.8, 0.8], [0.8011] * 5).holds
    with pytest.raises(UserError, match="1 claimed"):
        proofs.closeness([0.8], new)


def test_reproduced_and_its_proof_are_kept_and_read(known: Accepted, honest: list[Run], public: PublicData) -> None:
    new = reproduced(known, honest, public)
    assert new.state == "reproduced"
    again = reading.open_result(known.path).claim
    assert again == new
    (sheet,) = all_results.read_accepted(known.path.parents[4]).sheets
    found = sheet.entries[0].standing
    assert found is not None
    assert found.state == "reproduced"
    assert "reproduced by Bob (2026-02-01): mean 0." in found.proof
    size = proofs.noticed_miss(new.primary, 5)
    assert f"; no miss was found: one of {size:.4f} would have been in 80 % of cases, a smaller one" in found.proof
    assert size > proofs.closeness(new.primary, new.primary).tolerance
    assert sheet.entries[0].seeds == (0, 1, 2, 3, 4), "the new seeds are proof, not part of the claim"


def test_a_miss_is_kept_with_both_means(known: Accepted, weak: list[Run], public: PublicData) -> None:
    new = reproduced(known, weak, public)
    assert new.state == "not reproduced"
    (sheet,) = all_results.read_accepted(known.path.parents[4]).sheets
    found = sheet.entries[0].standing
    assert found is not None
    assert found.state == "not reproduced"
    assert new.reproduction is not None
    for mean in (new.reproduction.claimed_mean, new.reproduction.new_mean, new.reproduction.tolerance):
        assert f"{mean:.4f}" in found.proof
    assert "no miss was found" not in found.proof


@pytest.mark.parametrize(
    ("seeds", "by", "change", "message"),
    [
        (range(5, 9), "Bob", {}, "needs 5 new seeds with a result, there are 4"),
        (range(4, 10), "Bob", {}, "seed 4 is in the claim already; train others, e.g. --seeds 5-9"),
        (range(3, 10), "Bob", {}, "seeds 3, 4 are in the claim"),
        (range(6, 11), "Bob", {}, "those that follow the claim's are seeds 5, 6, 7, 8, 9: train them with --seeds 5-9"),
        ((5, 6, 8, 9, 11, 12), "Bob", {}, "those that follow the claim's are seeds 5, 6, 7, 8, 9, 10"),
        (range(5, 10), "Ann", {}, "cannot reproduce their own"),
        (range(5, 10), " ANN ", {}, "cannot reproduce their own"),
        (range(5, 10), "\uff21nn", {}, "cannot reproduce their own"),
        (range(5, 10), "B\u200bob", {}, "is no name"),
        (range(5, 10), "", {}, "is no name"),
        (range(5, 10), "Bob", {"backbone": "resnet18"}, "another backbone"),
        (range(5, 10), "Bob", {"fields": {"alpha": 0.1}}, "another fields"),
        (range(5, 10), "Bob", {"method_version": 2}, "another method_version"),
        (range(5, 10), "Bob", {"head": "one-logit"}, "another head"),
        (range(5, 10), "Bob", {"protocol_settings": {"epochs": 13}}, "another protocol_settings"),
        (range(5, 10), "Bob", {"weights": "a" * 64}, "another weights"),
    ],
)  # fmt: skip
def test_what_is_no_reproduction(
    known: Accepted, make_published: MakeRun, public: PublicData,
    seeds: Sequence[int], by: str, change: dict[str, Any], message: str,
) -> None:  # fmt: skip
    runs = [make_published("cyborg", seed, **change) for seed in seeds]
    with pytest.raises(UserError, match=message):
        proofs.with_reproduction(known.claim, published(runs, public), runs, by, "2026-02-01", known.path)


def test_failed_new_seeds_are_counted_and_do_not_help(
    known: Accepted, make_published: MakeRun, public: PublicData
) -> None:
    runs = [make_published("cyborg", seed) for seed in range(5, 9)] + [make_published("cyborg", 9, status="failed")]
    with pytest.raises(UserError, match="there are 4"):
        reproduced(known, runs, public)
    new = reproduced(known, [*runs, make_published("cyborg", 10)], public)
    assert new.reproduction is not None
    assert [one.seed for one in new.reproduction.missing] == [9]


def proof_for(known: Claim) -> Verified:
    """What ``verify`` stamps."""
    return Verified(
        by="Cem", date="2026-01-05", max_difference=2e-6, device="cpu", versions={"torch": "2.9"},
        margins_sha256=known.margins_sha256,
    )  # fmt: skip


def test_a_proof_is_of_the_margins_that_it_saw(known: Accepted, honest: list[Run], public: PublicData) -> None:
    other = proof_for(known.claim).model_copy(update={"margins_sha256": "0" * 64})
    with pytest.raises(UserError, match="verified is of margins with sha256 000000000000"):
        proofs.with_verification(known.claim, other)
    verified = proofs.with_verification(known.claim, proof_for(known.claim))
    new = reproduced(known, honest, public)
    assert new.reproduction is not None
    assert new.reproduction.claim_margins_sha256 == known.claim.margins_sha256
    for one, name in ((verified, "verified"), (new, "reproduction")):
        known.path.write_bytes(files.model_json(one.model_copy(update={"margins_sha256": "1" * 64})))
        with pytest.raises(UserError, match=f"{name} is of margins"):
            reading.read_claim(known.path)


def test_copied_seeds_are_no_reproduction(known: Accepted, honest: list[Run], public: PublicData) -> None:
    found = published(honest, public)
    for new, message in (
        (np.concatenate([found.margins[:4], found.margins[1:2]]), "seeds 6 and 9 have the same margins"),
        (np.concatenate([found.margins[:4], known.margins[2:3]]), "seeds 2 and 9 have the same margins"),
    ):
        copied = dataclasses.replace(found, margins=new)
        with pytest.raises(UserError, match=message):
            proofs.with_reproduction(known.claim, copied, honest, "Bob", "2026-02-01", known.path)
    zeros = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 2.0]], np.float32)
    with pytest.raises(UserError, match="seeds 0 and 1"):
        keys.check_no_copies("x", [0, 1, 2], zeros)
    keys.check_no_copies("x", [0, 2], zeros[[0, 2]])


@pytest.mark.parametrize("name", ["", "  ", "Bob\n", "Bob\x1b[2J", "B\u200bob", "\u202eboB", "x" * 401])
def test_names_are_visible(name: str) -> None:
    with pytest.raises(UserError, match=r"^--by .* is no name") as caught:
        claim.person(name)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"name|character"):
        TypeAdapter[str](claim.Person).validate_python(name)


def test_one_person_has_many_spellings() -> None:
    for other in ("ann lee", " Ann\u00a0 LEE ", "A\u200bnn Lee", "\u202eAnn Lee", "\uff21nn Lee", "Ann Lee\u00ad"):
        assert claim.same_person("Ann Lee", other), other
    assert claim.same_person("Zo\u00eb Stra\u00dfe", "zoe\u0308 STRASSE")
    assert not claim.same_person("Ann Lee", "Ann Li")
    assert claim.person("Zo\u00eb Stra\u00dfe") == "Zo\u00eb Stra\u00dfe"


def test_a_verification_stays_when_a_reproduction_comes(known: Accepted, honest: list[Run], public: PublicData) -> None:
    proof = proof_for(known.claim)
    verified = proofs.with_verification(known.claim, proof)
    assert verified.state == "verified"
    assert proofs.proof_of(verified) == "verified by Cem (2026-01-05): largest |ΔAUROC| 2e-06 on cpu"
    files.write_all({known.path: files.model_json(verified)})
    new = reproduced(reading.open_result(known.path), honest, public)
    assert new.verified == proof
    assert proofs.proof_of(new).startswith("verified by Cem")
    assert "; reproduced by Bob" in proofs.proof_of(new)
    assert proofs.with_verification(new, proof).state == "reproduced"


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (("new_mean",), 0.001, r"reproduction\.new_mean"),
        (("claimed_mean",), 0.001, r"reproduction\.claimed_mean"),
        (("tolerance",), 0.5, r"reproduction\.tolerance"),
        (("seeds", 2, "scores", "open_set"), 0.001, "reproduction, seed 7: open_set"),
        (("seeds", 2, "scores", "conditions", 0, "auroc"), 0.001, "reproduction, seed 7: conditions"),
        (("seeds", 2, "seed"), 100, "does not hash"),
    ],
)
def test_an_edited_reproduction_is_found(
    known: Accepted, weak: list[Run], public: PublicData, place: tuple[Any, ...], change: float, message: str
) -> None:
    reproduced(known, weak, public)
    content = json.loads(known.path.read_text())
    inner = content["reproduction"]
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] += change
    # The state follows from the numbers: an editor who wants to be believed changes both.
    state = claim.proven_state(Claim.model_validate(content))
    known.path.write_text(json.dumps({**content, "state": state}))
    with pytest.raises(UserError, match=message):
        reading.open_result(known.path)


def test_states_and_proofs_must_agree(known: Accepted, weak: list[Run], public: PublicData) -> None:
    new = reproduced(known, weak, public)
    for change in ({"state": "reproduced"}, {"submitter": "bob"}, {"reproduction": None, "state": "reported"}):
        known.path.write_bytes(files.model_json(new.model_copy(update=change)))
        with pytest.raises(UserError, match=r"its proofs show|cannot reproduce their own|names no reproduction"):
            reading.open_result(known.path)
    known.path.write_bytes(files.model_json(new))
    known.path.with_name("cyborg.reproduction.parquet").unlink()
    with pytest.raises(UserError, match=r"cyborg\.reproduction\.parquet"):
        reading.open_result(known.path)


def test_a_new_submission_starts_at_reported(
    known: Accepted, make_published: MakeRun, honest: list[Run], public: PublicData, submit: Submit
) -> None:
    reproduced(known, honest, public)
    runs = [make_published("cyborg", seed) for seed in range(5)]
    (same,) = submit(runs)
    assert same.change == "unchanged"
    assert reading.open_result(known.path).claim.state == "reproduced"
    submit([*runs, make_published("cyborg", 5)], force=True)
    assert reading.open_result(known.path).claim.state == "reported"
    assert not list(known.path.parent.glob("*.reproduction.parquet"))


def test_an_accepted_result_is_found_by_its_file_only(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no accepted result"):
        reading.open_result(tmp_path / "nothing.json")
