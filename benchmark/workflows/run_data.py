"""The data behind runs: found again, opened, and what of it may be published."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.contracts.task import VARIANTS
from divsal_bench.data import arrays, catalogue
from divsal_bench.data.arrays import DataArrays
from divsal_bench.data.catalogue import DataSource
from divsal_bench.data.terms import predictions_permission, stated_terms, stricter
from divsal_bench.errors import UserError
from divsal_bench.registry import plugins
from divsal_bench.runs.reading import Run

if TYPE_CHECKING:
    from divsal_bench.contracts.adapter import SourceTerms
    from divsal_bench.leaderboard.accepted.publishing import PublicData
    from divsal_bench.leaderboard.claims.gallery import ClassCams, Gallery


class RunData:
    """Opens the data of runs, each only once."""

    def __init__(self, data: str | Path | None) -> None:
        """As ``--data``; None finds stand-ins and what is prepared in its usual place by itself."""
        self.data = None if data is None else str(data)
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
            self.opened[key] = arrays.load_arrays(plugins.tasks().get(run.spec.task), self.source(run), size)
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
        return PublicData(rows[list(ROW_COLUMNS)], predictions_permission(self.terms(run)), gallery, cams)

    def terms(self, run: Run) -> Mapping[str, SourceTerms] | None:
        """What each source allows; None for stand-ins, which are ours."""
        info = self.source(run).info
        if info is None:
            return None
        stated = stated_terms(self.arrays(run).rows["source"], info.sources)
        return {source: stricter(terms, run.record.data.terms.get(source, {})) for source, terms in stated.items()}

    def gallery(self, run: Run, key: Callable[[str], str]) -> tuple[Gallery, Callable[[Run], Mapping[str, ClassCams]]]:
        """The pictures of a run's data, and how to get a run's maps of them.

        Args:
            run: Any run on the data.
            key: Sample id to the key under which it is shown.
        """
        from divsal_bench.leaderboard.claims.gallery import Gallery, GalleryPicture
        from divsal_bench.leaderboard.claims.keys import hashed
        from divsal_bench.publish.gallery import cams_of_samples, pictures

        found = pictures(
            self.arrays(run), self.terms(run), lambda sample: hashed(sample, run.spec.data_fingerprint, "sample")
        )
        shown = {one.sample_id: key(one.sample_id) for one in found.shown}

        def cams(of: Run) -> dict[str, ClassCams]:
            maps = cams_of_samples(of, self.arrays(of), list(shown))
            return {shown[sample]: values.tolist() for sample, values in maps.items()}

        gallery = Gallery(
            class_names=plugins.tasks().get(run.spec.task).class_names,
            pictures=[
                GalleryPicture(
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
