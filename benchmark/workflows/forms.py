"""The forms that results take as text."""

from __future__ import annotations

from collections.abc import Sequence

from divsal_bench.errors import unknown

#: What every result that is a table can be written as.
FORMS = ("terminal", "markdown", "csv", "json")


def require_form(form: str, known: Sequence[str] = FORMS) -> None:
    """Refuse a form that there is not.

    Raises:
        UserError: With the closest one.
    """
    if form not in known:
        raise unknown("format", form, known)
