"""What there is: tasks, methods, protocols and backbones, and everything known about one of them. No torch."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from divsal_bench.contracts.adapter import Adapter
from divsal_bench.contracts.method import Method
from divsal_bench.contracts.task import VARIANTS, Task
from divsal_bench.errors import unknown
from divsal_bench.networks import backbones
from divsal_bench.registry import plugins, protocols
from divsal_bench.registry.protocols import Protocol

Facts = list[tuple[str, object]]


@dataclass(frozen=True)
class Listing:
    """One kind of thing.

    Attributes:
        columns: Their names.
        rows: One a thing, cells as text.
        complaints: One sentence for each plugin that could not be loaded.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    complaints: list[str] = dataclasses.field(default_factory=list)


def list_known(what: str) -> Listing:
    """Everything of one kind, in the order of tables.

    Args:
        what: ``tasks``, ``methods``, ``protocols`` or ``backbones``.

    Returns:
        Names and what there is to say in a line.

    Raises:
        UserError: Another word, or two plugins of one name.

    Example:
        >>> from divsal_bench.workflows.listing import list_known
        >>> [row[0] for row in list_known("methods").rows][:2]
        ['cross-entropy', 'balanced-cross-entropy']
    """
    if what not in LISTINGS:
        raise unknown("kind of thing", what, LISTINGS)
    return LISTINGS[what]()


def listed_tasks() -> Listing:
    """Every task."""
    known = plugins.tasks()
    rows = [
        (task.name, " / ".join(task.class_names), "grey" if task.channels == 1 else "RGB", task.description)
        for task in known.found.values()
    ]
    return Listing(("task", "classes", "channels", "what is decided"), rows, known.complaints())


def listed_methods() -> Listing:
    """Every method."""
    known = plugins.methods()
    rows = [
        (name, known.found[name].kind, fields_in_words(known.found[name]), what_it_does(known.found[name]))
        for name in plugins.ranked_order(known.found)
    ]
    return Listing(("method", "kind", "fields", "what it does"), rows, known.complaints())


def listed_protocols() -> Listing:
    """Every protocol."""
    rows = [
        (one.name, one.backbone, f"{one.input_size} px", str(one.epochs), one.description)
        for one in protocols.PROTOCOLS.values()
    ]
    return Listing(("protocol", "backbone", "input", "epochs", "description"), rows)


def listed_backbones() -> Listing:
    """The backbones that the tests look at."""
    others = ("any other timm name", "accepted if global average pooling and one linear layer end it; checked")
    return Listing(("backbone", "note"), [*backbones.TESTED.items(), others])


LISTINGS: dict[str, Callable[[], Listing]] = {
    "tasks": listed_tasks,
    "methods": listed_methods,
    "protocols": listed_protocols,
    "backbones": listed_backbones,
}


def fields_in_words(method: type[Method]) -> str:
    """``alpha=0.5, cam_class=true``."""
    return ", ".join(f"{field.name}={field.default}" for field in plugins.fields_of(method)) or "–"


def what_it_does(thing: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n")[0]


def facts_about(name: str) -> Facts:
    """Everything known about one thing.

    Args:
        name: Of a task, a method, a protocol, a data adapter or a backbone.

    Returns:
        What is known, by what it is called, in the order in which it is read.

    Raises:
        UserError: Nothing is called so, or its plugin cannot be loaded.

    Example:
        >>> from divsal_bench.workflows.listing import facts_about
        >>> dict(facts_about("cyborg"))["kind"]
        'one-cam'
    """
    sections: dict[str, Callable[[], Facts]] = {}
    for task in plugins.tasks().found.values():
        sections[task.name] = lambda task=task: task_facts(task)  # type: ignore[misc]
    for method in plugins.methods().found.values():
        sections[method.name] = lambda method=method: method_facts(method)  # type: ignore[misc]
    for protocol in protocols.PROTOCOLS.values():
        sections[protocol.name] = lambda protocol=protocol: protocol_facts(protocol)  # type: ignore[misc]
    for adapter in plugins.adapters().found.values():
        sections.setdefault(adapter.name, lambda adapter=adapter: adapter_facts(adapter))  # type: ignore[misc]
    for backbone, note in backbones.TESTED.items():
        sections[backbone] = lambda name=backbone, note=note: [("backbone", name), ("note", note)]  # type: ignore[misc]
    if name not in sections:
        for known in (plugins.tasks(), plugins.methods(), plugins.adapters()):
            known.check_not_broken(name)
        raise unknown("task, method, backbone or protocol", name, sections)
    return sections[name]()


def task_facts(task: Task) -> Facts:
    """A task's declaration, and the data a run would use now."""
    from divsal_bench.data import catalogue

    source = catalogue.resolve(task, None)
    return [
        ("task", f"{task.name} (version {task.version})"),
        ("title", task.title),
        ("decision", task.description),
        ("class 0", task.class_names[0]),
        ("class 1", f"{task.class_names[1]} (positive)"),
        ("images", "grey" if task.channels == 1 else "RGB"),
        ("categories", task.category_meaning),
        ("primary metric", "open-set AUROC: mean over unseen sources and categories with both classes"),
        ("field metrics", ", ".join(task.field_metrics)),
        ("data", f"{source.name} ({source.fingerprint[:8]}); stand-in variants: {', '.join(VARIANTS)}"),
        ("cite", task.citation),
        ("licence", task.licence),
    ]


def method_facts(method: type[Method]) -> Facts:
    """A method's declaration."""
    return [
        ("method", f"{method.name} (version {method.version})"),
        ("kind", method.kind),
        ("fields", fields_in_words(method)),
        ("about", inspect.getdoc(method) or ""),
        ("defined in", method.__module__),
    ]


def protocol_facts(protocol: Protocol) -> Facts:
    """Every training choice."""
    return [(field.name.replace("_", " "), getattr(protocol, field.name)) for field in dataclasses.fields(protocol)]


def adapter_facts(adapter: Adapter) -> Facts:
    """What an adapter reads."""
    from divsal_bench.data.reading import OPTIONS

    options = [(f"option {name}", meaning) for name, meaning in {**adapter.options, **OPTIONS}.items()]
    return [("adapter", adapter.name), ("reads", adapter.description), *options]
