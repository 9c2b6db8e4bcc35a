"""What there is, as Python users get it."""

from __future__ import annotations

import pytest

from divsal_bench.errors import UserError
from divsal_bench.registry import plugins
from divsal_bench.workflows import listing

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("what", ["tasks", "methods", "protocols", "backbones"])
def test_everything_listed_is_known_by_its_name(what: str) -> None:
    found = listing.list_known(what)
    assert not found.complaints
    assert all(len(row) == len(found.columns) for row in found.rows)
    named = [row[0] for row in found.rows if not row[0].startswith("any other")]
    assert all(listing.facts_about(name) for name in named)


def test_a_kind_of_thing_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="Did you mean 'methods'"):
        listing.list_known("method")


def test_a_plugin_that_cannot_be_loaded_is_told_and_its_name_gives_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = plugins.Plugins("method", {}, {"divsal_bench.baselines.my_own": "RuntimeError: no luck"})
    monkeypatch.setattr(plugins, "methods", lambda: broken)
    assert listing.list_known("methods").complaints == [
        "broken method plugin divsal_bench.baselines.my_own: RuntimeError: no luck"
    ]
    with pytest.raises(UserError, match="'my-own' cannot be loaded: RuntimeError: no luck"):
        listing.facts_about("my-own")
