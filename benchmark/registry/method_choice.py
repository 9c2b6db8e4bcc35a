"""Read ``--method``: names, groups of names, and fields set as ``name:field=value,…``."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from divsal_bench.contracts.method import Method
from divsal_bench.errors import UserError, unknown
from divsal_bench.registry import plugins


@dataclasses.dataclass(frozen=True)
class MethodChoice:
    """A method and every one of its fields, defaults included."""

    name: str
    fields: dict[str, Any]

    @property
    def label(self) -> str:
        """The name, with the fields that differ from the defaults."""
        changed = {
            field.name: self.fields[field.name]
            for field in plugins.fields_of(plugins.methods().get(self.name))
            if self.fields[field.name] != field.default
        }
        return self.name + (":" + ",".join(f"{k}={v}" for k, v in changed.items()) if changed else "")

    def build(self) -> Method:
        """The method, ready for one run."""
        return plugins.methods().get(self.name)(**self.fields)


def choose_methods(text: str) -> list[MethodChoice]:
    """Resolve a ``--method`` value, in table order and without repetition.

    Args:
        text: Comma-separated names; ``all`` means all but the controls, ``controls`` adds those; fields
            follow a name after a colon, e.g. ``"all,cyborg:alpha=0.3,cam_class=predicted"``.

    Raises:
        UserError: Unknown method or field, or a value that does not fit.
    """
    known = plugins.methods()
    chosen: list[MethodChoice] = []
    for item in split_items(text):
        if item == "all" and known.broken:
            raise UserError(f"{known.complaints()[0]}; mend or remove it, or name the methods you want")
        if item == "all":
            names = [name for name in plugins.ranked_order(known.found) if known.found[name].kind != "control"]
        elif item == "controls":
            names = [name for name in plugins.ranked_order(known.found) if known.found[name].kind == "control"]
        else:
            names = [item]
        chosen += [choose_method(name) for name in names]
    unique: list[MethodChoice] = []
    for choice in chosen:
        if choice not in unique:
            unique.append(choice)
    order = plugins.ranked_order(known.found)
    return sorted(unique, key=lambda choice: order.index(choice.name))


def split_items(text: str) -> list[str]:
    """Split at the commas between methods, not at those between fields of one method."""
    items: list[str] = []
    for piece in (piece.strip() for piece in text.split(",")):
        if "=" in piece and ":" not in piece and items and ":" in items[-1]:
            items[-1] += "," + piece
        elif piece:
            items.append(piece)
    if not items:
        raise UserError("--method is empty; give a name, `all` or `all,controls`")
    return items


def choose_method(item: str) -> MethodChoice:
    """Read one ``name`` or ``name:field=value,…``."""
    name, _, settings = item.partition(":")
    method = plugins.methods().get(name.strip())
    known = [field.name for field in plugins.fields_of(method)]
    given: dict[str, str] = {}
    for setting in filter(None, settings.split(",")):
        field, equals, value = (part.strip() for part in setting.partition("="))
        if not equals:
            raise UserError(f"field {field!r} of method {name!r} has no value; write {name}:{field}=VALUE")
        if field not in known:
            hint = f"Its fields: {', '.join(known)}." if known else "It has no fields."
            raise unknown(f"field of method {name!r}:", field, known, hint)
        given[field] = value
    return MethodChoice(method.name, validated(method, given))


def validated(method: type[Method], given: dict[str, Any]) -> dict[str, Any]:
    """Turn texts into the fields' types and fill in the defaults; UserError for a value that does not fit."""
    from pydantic import TypeAdapter, ValidationError

    try:
        built = TypeAdapter(method).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != method.__name__)
        raise UserError(
            f"method {method.name!r}{', field ' + repr(where) if where else ''}: "
            f"{first['msg'].removeprefix('Value error, ')}; given {first['input']!r}"
        ) from None
    values = {field.name: getattr(built, field.name) for field in plugins.fields_of(method)}
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"method {method.name!r}, field {name!r}: give a finite number, not {value}")
    return values
