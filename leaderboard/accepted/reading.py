"""Read the accepted results: every file is checked, and every number computed again from the stored margins.

Where the files lie stands in :mod:`divsal_bench.leaderboard.claims.files`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.accepted.proofs import check_reproduction
from divsal_bench.leaderboard.accepted.rescoring import rescore
from divsal_bench.leaderboard.claims import keys as key_files
from divsal_bench.leaderboard.claims.claim import Claim
from divsal_bench.leaderboard.claims.consistency import check_itself, place
from divsal_bench.leaderboard.claims.files import (
    DEPTH,
    GALLERY,
    KEYS,
    MARGINS,
    MOST_JSON,
    NEW_MARGINS,
    read_claimed,
    read_submitted,
)
from divsal_bench.leaderboard.claims.gallery import Gallery
from divsal_bench.leaderboard.claims.gallery_check import check_cams, check_gallery
from divsal_bench.scores.layout import Layout, layout_of

if TYPE_CHECKING:
    import pandas as pd

#: A larger ``key.parquet`` is refused unread.
MOST_KEYS = 100_000_000


@dataclass(frozen=True, eq=False)
class Accepted:
    """One accepted result, read and checked.

    Attributes:
        path: Its file.
        content: Short hash of the file.
        margins: (n, N) of its seeds, in the order of the data set's rows.
    """

    path: Path
    claim: Claim
    margins: key_files.Margins
    content: str


@dataclass(frozen=True, eq=False)
class DataSet:
    """What all results on one data set share.

    Attributes:
        rows: Columns :data:`divsal_bench.leaderboard.sheets.entries.ROW_COLUMNS`, sorted by key.
        key_sha256: Of ``key.parquet``.
        gallery: Without maps; None where the folder has none.
    """

    folder: Path
    rows: pd.DataFrame
    layout: Layout
    key_sha256: str
    gallery: Gallery | None


def read_data_set(folder: Path) -> DataSet:
    """Read ``key.parquet`` and ``gallery.json``."""
    content = read_submitted(folder / KEYS, MOST_KEYS)
    rows = key_files.parse_keys(folder / KEYS, content)
    path = folder / GALLERY
    gallery = read_claimed(path, Gallery) if path.exists() else None
    if gallery is not None:
        test = rows[rows["split"] == "test"]
        facts = zip(test["label"].tolist(), test["condition"].tolist(), strict=True)
        check_gallery(gallery, dict(zip(test["key"].tolist(), facts, strict=True)), path)
    return DataSet(folder, rows, layout_of(rows), hashlib.sha256(content).hexdigest(), gallery)


def read_result(root: Path, file: PurePosixPath, data: DataSet) -> Accepted:
    """Read one result and check all that can be checked without its weights.

    Args:
        file: Relative to it.
        data: Of the folder it lies in.
    """
    path = root / file
    claim = read_claim(path)
    if place(claim) != file:
        raise UserError(f"{path} belongs to {place(claim)}, by what it says; move it there")
    if claim.key_sha256 != data.key_sha256:
        raise UserError(f"{path} names another {KEYS} (sha256 {claim.key_sha256[:8]}…) than the one beside it")
    names = data.rows["key"].tolist()
    margins = margins_beside(path, MARGINS, claim.margins_sha256, [one.seed for one in claim.seeds], names)
    rescore(claim, claim.seeds, margins, data.layout, path, "")
    second = path.with_name(path.stem + NEW_MARGINS)
    if claim.reproduction is not None:
        new = claim.reproduction
        others = margins_beside(path, NEW_MARGINS, new.margins_sha256, [one.seed for one in new.seeds], names)
        both = [one.seed for one in (*claim.seeds, *new.seeds)]
        key_files.check_no_copies(path, both, np.concatenate([margins, others]))
        rescore(claim, new.seeds, others, data.layout, path, "reproduction, ")
        check_reproduction(claim, path)
    elif second.exists():
        raise UserError(f"{second} is there, but {path.name} names no reproduction; remove it")
    pictures = {picture.key for picture in data.gallery.pictures} if data.gallery else set()
    for key, cams in claim.cams.items():
        check_cams(key, cams, pictures, path)
    return Accepted(path, claim, margins, hashlib.sha256(read_submitted(path, MOST_JSON)).hexdigest()[:12])


def open_result(path: Path) -> Accepted:
    """Read and check one result by its path alone; its results folder is four folders up."""
    path = path.resolve()
    if not path.is_file() or len(path.parts) <= DEPTH:
        raise UserError(f"there is no accepted result {path}; give the path of its .json file")
    root = path.parents[DEPTH - 1]
    return read_result(root, PurePosixPath(path.relative_to(root).as_posix()), read_data_set(path.parents[2]))


def read_claim(path: Path) -> Claim:
    """Read one result's JSON and check it by itself: schema, safe names, parts that fit each other."""
    claim = read_claimed(path, Claim)
    check_itself(claim, path)
    return claim


def margins_beside(path: Path, end: str, sha256: str, seeds: list[int], names: list[str]) -> key_files.Margins:
    """Read the margins beside a result, if they are those it names."""
    file = path.with_name(path.stem + end)
    content = read_submitted(file, key_files.limit(len(names)))
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{file} is not the file that {path.name} names (its sha256 differs); submit it again")
    return key_files.parse_margins(file, content, seeds, names)
