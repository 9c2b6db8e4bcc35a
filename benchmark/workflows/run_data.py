"""The data behind runs: found again, opened, and what of it may be published."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.contracts.task import VARIANTS
from divsal_bench.data import arrays, catalogue
from divsal_bench.data.arrays import DataArrays
from divsal_bench.data.catalogue import DataSource
from divsal_bench.errors import UserError
from divsal_bench.registry import plugins
from divsal_bench.runs.reading import Run, read_run, read_runs, require_utf8, run_folders
from divsal_bench.words import STRICTEST_FIRST, Permission

if TYPE_CHECKING:
    from divsal_bench.leaderboard.accepted.publishing import PublicData
    from divsal_bench.leaderboard.claims.gallery import ClassCams, Gallery


def collect(paths: list[Path], out: Path) -> list[Run]:
    """Runs from run directories and output folders; the output folder alone where nothing is named.

    Raises:
        UserError: A path that holds no run.
    """
    found: dict[Path, Run] = {}
    for path in paths or [out]:
        require_utf8(path)
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is no folder; give an output folder or run directories")
        if not path.is_dir():
            raise UserError(f"there is no folder {path}; give an output folder or run directories")
        runs = [read_run(path)] if (path / "run.json").exists() else read_runs(path) or below(path)
        if not runs:
            raise UserError(f"{path} holds no finished run; give an output folder or run directories")
        found |= {run.path.resolve(): run for run in runs}
    return list(found.values())


def below(folder: Path) -> list[Run]:
    """Runs of a task's or a method's folder inside an output folder."""
    return [read_run(one) for one in run_folders(folder, 1, 2)]


def stricter(now: SourceTerms, then: Mapping[str, str]) -> SourceTerms:
    """What both the data's terms of today and those under which a run was made allow.

    Args:
        now: Of the data as it is found.
        then: ``images``, ``weights`` and ``predictions`` to yes, no or unknown; empty where a run does not say.
    """
    words = {
        f"redistribute_{what}": min((getattr(now, f"redistribute_{what}"), word), key=STRICTEST_FIRST.index)
        for what, word in then.items()
        if word in STRICTEST_FIRST and hasattr(now, f"redistribute_{what}")
    }
    return dataclasses.replace(now, **words)  # type: ignore[arg-type]


class RunData:
    """Opens the data of runs, each only once."""

    def __init__(self, data: str | None) -> None:
        """As ``--data``; None finds stand-ins and what is prepared in its usual place by itself."""
        self.data = data
        self.sources: dict[str, DataSource] = {}
        self.opened: dict[tuple[str, int], DataArrays] = {}

    def source(self, run: Run) -> DataSource:
        """Where a run's data is.

        Raises:
            UserError: It cannot be found, or has another fingerprint.
        """
        spec = run.spec
        if spec.data_fingerprint not in self.sources:
            task = plugins.tasks().get(spec.task)
            wanted = self.data
            # Drawn images may have been prepared like any others, in a folder called anything or on the Hub.
            if wanted is None and spec.data in VARIANTS and run.record.data.kind == "standin":
                wanted = spec.data
            elif wanted is None and run.record.data.revision:
                wanted = f"{spec.data.partition('@')[0]}@{run.record.data.revision}"
            found = catalogue.resolve(task, wanted)
            if found.fingerprint != spec.data_fingerprint:
                raise UserError(
                    f"{run.path} was run on the data {spec.data} ({spec.data_fingerprint[:8]}), found is "
                    f"{found.name} ({found.fingerprint[:8]}); give the run's own with --data"
                )
            self.sources[spec.data_fingerprint] = found
        return self.sources[spec.data_fingerprint]

    def arrays(self, run: Run) -> DataArrays:
        """The decoded data of a run, at the size of its protocol."""
        from divsal_bench.networks.trained import protocol_of

        size = protocol_of(run).input_size
        key = (run.spec.data_fingerprint, size)
        if key not in self.opened:
            self.opened[key] = arrays.load(plugins.tasks().get(run.spec.task), self.source(run), size)
        return self.opened[key]

    def public(self, run: Run) -> PublicData:
        """What publishing needs to know of a run's data."""
        from divsal_bench.leaderboard.accepted.publishing import PublicData
        from divsal_bench.leaderboard.claims.keys import hashed
        from divsal_bench.leaderboard.sheets.entries import ROW_COLUMNS
        from divsal_bench.scores.conditions import condition_columns

        opened = self.arrays(run)
        chosen = (opened.rows["split"] != "train").to_numpy().nonzero()[0]
        rows = opened.rows.iloc[chosen].rename(columns={"sample_id": "key"})
        rows = rows.assign(**condition_columns(opened.rows, chosen)).sort_values("key", ignore_index=True)

        def key(sample: str) -> str:
            return hashed(sample, run.spec.data_fingerprint, "sample")

        gallery, cams = self.gallery(run, key)
        return PublicData(rows[list(ROW_COLUMNS)], self.permission(run), gallery, cams)

    def permission(self, run: Run) -> Permission:
        """May predictions on a run's data be published? Every source must say yes."""
        terms = self.terms(run)
        said = {one.redistribute_predictions for one in terms.values()} if terms is not None else {"yes"}
        if "no" in said:
            return "no"
        return "yes" if said == {"yes"} else "unknown"

    def terms(self, run: Run) -> Mapping[str, SourceTerms] | None:
        """What each source allows; None for stand-ins, which are ours."""
        info = self.source(run).info
        if info is None:
            return None
        # By the rows: a source without terms has not said yes.
        sources = sorted(set(self.arrays(run).rows["source"].astype(str)))
        stated = {source: info.sources.get(source, SourceTerms()) for source in sources}
        return {source: stricter(terms, run.record.data.terms.get(source, {})) for source, terms in stated.items()}

    def gallery(self, run: Run, key: Callable[[str], str]) -> tuple[Gallery, Callable[[Run], Mapping[str, ClassCams]]]:
        """The pictures of a run's data, and how to get a run's maps of them.

        Args:
            run: Any run on the data.
            key: Sample id to the key under which it is shown.
        """
        from divsal_bench.leaderboard.claims.gallery import Gallery, Picture
        from divsal_bench.leaderboard.claims.keys import hashed
        from divsal_bench.publish.gallery import class_cams, pictures

        found = pictures(
            self.arrays(run), self.terms(run), lambda sample: hashed(sample, run.spec.data_fingerprint, "sample")
        )
        shown = {one.sample_id: key(one.sample_id) for one in found.shown}

        def cams(of: Run) -> dict[str, ClassCams]:
            maps = class_cams(of, self.arrays(of), list(shown))
            return {shown[sample]: values.tolist() for sample, values in maps.items()}

        gallery = Gallery(
            class_names=plugins.tasks().get(run.spec.task).class_names,
            pictures=[
                Picture(
                    key=shown[one.sample_id],
                    label=one.label,
                    condition=one.condition,
                    image=base64.b64encode(one.image).decode(),
                    human=None if one.human is None else [[round(float(v), 4) for v in row] for row in one.human],
                    credit=one.credit,
                )
                for one in found.shown
            ],
            absent=found.absent,
        )
        return gallery, cams
