"""Writing a canonical data set: Parquet shards, a dataset card, and ``divsal.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.data.canonical import INFO_FILE, SCHEMA_VERSION, SPLITS, Count, Info, Sample, canonical_features
from divsal_bench.data.card import data_card
from divsal_bench.data.fingerprint import RowIdentity, data_fingerprint
from divsal_bench.errors import UserError
from divsal_bench.files.whole import new_folder

SHARD_BYTES = 256 * 2**20
#: Rows are handed to Parquet in groups of this size: it bounds memory, and a viewer can fetch a few rows.
GROUP_BYTES = 32 * 2**20


def write_data_set(
    out: Path,
    samples: Iterable[Sample],
    *,
    task: str,
    class_names: tuple[str, str],
    adapter: str,
    sources: dict[str, SourceTerms],
    notices: Iterable[str] = (),
    readings: Mapping[str, dict[str, str]] | None = None,
    force: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Info:
    """Write a data set folder; it appears whole or not at all.

    Args:
        samples: Rows by split (in the order of :data:`SPLITS`), and by sample_id inside a split.
        notices: Written to ``divsal.json``; read when all samples are consumed.
        readings: Source to how its files were read, written likewise.
        force: Whether a data set that is there already is replaced.
        shard_bytes: A Parquet file is closed when its images and maps reach this size.

    Raises:
        UserError: ``out`` exists or cannot be written, or the disk is full.
        ValueError: The samples are not sorted.
    """
    check_target(out, force)
    try:
        with new_folder(out, replace=force, fix="choose another folder with --out") as aside:
            shards = _Shards(aside, class_names, shard_bytes)
            for sample in samples:
                shards.add(sample)
            info = Info(
                schema_version=SCHEMA_VERSION,
                task=task,
                class_names=class_names,
                adapter=adapter,
                files=shards.close(),
                fingerprint=data_fingerprint(shards.identities),
                sources={name: sources.get(name, SourceTerms()) for name in sorted(shards.source_names)},
                counts=shards.counts(),
                notices=tuple(notices),
                readings=dict(readings or {}),
            )
            (aside / "README.md").write_text(data_card(info), encoding="utf-8")
            text = json.dumps(asdict(info), indent=2, ensure_ascii=False) + "\n"
            (aside / INFO_FILE).write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise UserError(f"{out} appeared while it was being written; add --force to replace it") from error
    return info


def check_target(out: Path, force: bool) -> None:
    """UserError where ``out`` must not be written: before reading a data set. ``force`` lets one be replaced."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out} is a file, not a folder; choose another folder with --out")
    if not any(out.iterdir()):
        return
    # --force must never delete a folder that somebody named by mistake, such as their home.
    if not (out / INFO_FILE).is_file():
        raise UserError(f"{out} is not empty and not a prepared data set; choose another folder with --out")
    if not force:
        raise UserError(f"{out} already holds a prepared data set; add --force to replace it")


class _Shards:
    """Writes rows to Parquet files of bounded size and keeps what is counted over them."""

    def __init__(self, folder: Path, class_names: tuple[str, str], shard_bytes: int) -> None:
        self.folder = folder / "data"
        self.folder.mkdir()
        self.schema = canonical_features(class_names).arrow_schema
        self.shard_bytes = shard_bytes
        self.identities: list[RowIdentity] = []
        self.source_names: set[str] = set()
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._paths: dict[str, list[Path]] = {}
        self._writer: Any = None
        self._group: list[Sample] = []
        self._group_bytes = self._file_bytes = 0
        self._last = (-1, "")

    def add(self, sample: Sample) -> None:
        """Take one row."""
        place = (SPLITS.index(sample.split), sample.sample_id)
        if place <= self._last:
            raise ValueError(f"samples are not sorted at {sample.split} {sample.sample_id!r}")
        size = len(sample.image) + len(sample.saliency or b"")
        if place[0] != self._last[0] or self._file_bytes + size > self.shard_bytes:
            self._close_file()
        self._last = place
        self._group.append(sample)
        self._group_bytes += size
        self._file_bytes += size
        if self._group_bytes >= GROUP_BYTES:
            self._write_group()
        self.identities.append(sample.identity())
        self.source_names.add(sample.source)
        count = self._counts.setdefault((sample.split, sample.source), [0, 0, 0])
        count[sample.label] += 1
        count[2] += sample.saliency is not None and not sample.blank

    def counts(self) -> tuple[Count, ...]:
        """Return the rows per split and source, in the order of :data:`SPLITS`, then by name."""
        order = sorted(self._counts, key=lambda key: (SPLITS.index(key[0]), key[1]))  # type: ignore[arg-type]
        return tuple(Count(key[0], key[1], *self._counts[key]) for key in order)  # type: ignore[arg-type]

    def close(self) -> dict[str, int]:
        """Finish the last file and give every file its final name; return names and sizes."""
        self._close_file()
        sizes = {}
        for split, paths in self._paths.items():
            for number, path in enumerate(paths):
                final = path.with_name(f"{split}-{number:05d}-of-{len(paths):05d}.parquet")
                path.rename(final)
                sizes[f"data/{final.name}"] = final.stat().st_size
        return sizes

    def _write_group(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._group:
            return
        rows = self._group
        if self._writer is None:
            paths = self._paths.setdefault(rows[0].split, [])
            paths.append(self.folder / f"{rows[0].split}-{len(paths):05d}.partial")
            # Images are compressed already; what remains is small.
            self._writer = pq.ParquetWriter(paths[-1], self.schema, compression="snappy", use_dictionary=False)
        columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in self.schema.names}
        # A file's path may name a person, and decoding needs only the bytes.
        columns["image"] = [{"bytes": data, "path": None} for data in columns["image"]]
        columns["saliency"] = [data and {"bytes": data, "path": None} for data in columns["saliency"]]
        self._writer.write_table(pa.table(columns, schema=self.schema), row_group_size=len(rows))
        self._group, self._group_bytes = [], 0

    def _close_file(self) -> None:
        self._write_group()
        if self._writer is not None:
            self._writer.close()
        self._writer, self._file_bytes = None, 0
