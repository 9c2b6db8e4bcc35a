"""What the owners of images allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.data.arrays import DataArrays
from divsal_bench.data.catalogue import DataSource
from divsal_bench.data.reading import window_of

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataArrays


def terms_of(arrays: DataArrays, source: DataSource) -> dict[str, dict[str, str]]:
    """What each source of the rows allows: the same images may later be prepared with other words."""
    if source.info is None:
        return {}
    stated = {name: source.info.sources.get(name, SourceTerms()) for name in sorted(set(arrays.rows["source"]))}
    return {
        str(name): {what: getattr(terms, f"redistribute_{what}") for what in ("images", "weights", "predictions")}
        for name, terms in stated.items()
    }


def windows_of(source: DataSource) -> dict[str, str]:
    """The window of each source whose 16-bit images were prepared with one."""
    readings = {} if source.info is None else source.info.readings
    return {name: said["window"] for name, said in sorted(readings.items()) if window_of(said.get("window", ""))}


def may_show(terms: SourceTerms | None) -> bool:
    """Only a plain yes counts."""
    return terms is not None and terms.redistribute_images == "yes"
