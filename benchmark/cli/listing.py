"""``divsal-bench list`` and ``info``: what there is. No torch."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable

from divsal_bench.cli import EXIT_USER_ERROR, terminal_width
from divsal_bench.cli.tables import table
from divsal_bench.contracts.adapter import Adapter
from divsal_bench.contracts.method import Method
from divsal_bench.contracts.task import VARIANTS, Task
from divsal_bench.errors import unknown
from divsal_bench.files.text_tables import broken
from divsal_bench.networks import backbones
from divsal_bench.registry import plugins, protocols
from divsal_bench.registry.protocols import Protocol


def command(arguments: argparse.Namespace) -> int:
    """Print one kind of thing, a line each; plugins that cannot be loaded are named on standard error."""
    broken: list[str] = []
    rows: list[list[str]]
    if arguments.what == "tasks":
        tasks = plugins.tasks()
        broken = tasks.complaints()
        head = ["task", "classes", "channels", "what is decided"]
        rows = [
            [
                task.name,
                " / ".join(task.class_names),
                "grey" if task.channels == 1 else "RGB",
                task.description,
            ]
            for task in tasks.found.values()
        ]
    elif arguments.what == "methods":
        methods = plugins.methods()
        broken = methods.complaints()
        head = ["method", "kind", "fields", "what it does"]
        rows = [
            [name, methods.found[name].kind, fields_in_words(methods.found[name]), what_it_does(methods.found[name])]
            for name in plugins.ranked_order(methods.found)
        ]
    elif arguments.what == "protocols":
        head = ["protocol", "backbone", "input", "epochs", "description"]
        rows = [
            [p.name, p.backbone, f"{p.input_size} px", str(p.epochs), p.description]
            for p in protocols.PROTOCOLS.values()
        ]
    else:
        head = ["backbone", "note"]
        rows = [[name, note] for name, note in backbones.TESTED.items()]
        rows.append(["any other timm name", "accepted if global average pooling and one linear layer end it; checked"])
    print(table(rows, head))
    for complaint in broken:
        print(f"divsal-bench: {complaint}", file=sys.stderr)
    return EXIT_USER_ERROR if broken else 0


def fields_in_words(method: type[Method]) -> str:
    """``alpha=0.5, cam_class=true``."""
    return ", ".join(f"{field.name}={field.default}" for field in plugins.fields_of(method)) or "–"


def what_it_does(thing: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n")[0]


def info(arguments: argparse.Namespace) -> int:
    """Print everything known about one name."""
    sections: dict[str, Callable[[], Iterable[tuple[str, object]]]] = {}
    for task in plugins.tasks().found.values():
        sections[task.name] = lambda task=task: task_facts(task)  # type: ignore[misc]
    for method in plugins.methods().found.values():
        sections[method.name] = lambda method=method: method_facts(method)  # type: ignore[misc]
    for protocol in protocols.PROTOCOLS.values():
        sections[protocol.name] = lambda protocol=protocol: protocol_facts(protocol)  # type: ignore[misc]
    for adapter in plugins.adapters().found.values():
        sections.setdefault(adapter.name, lambda adapter=adapter: adapter_facts(adapter))  # type: ignore[misc]
    for name, note in backbones.TESTED.items():
        sections[name] = lambda name=name, note=note: [("backbone", name), ("note", note)]  # type: ignore[misc]
    if arguments.name not in sections:
        plugins.tasks().check_not_broken(arguments.name)
        plugins.methods().check_not_broken(arguments.name)
        plugins.adapters().check_not_broken(arguments.name)
        raise unknown("task, method, backbone or protocol", arguments.name, sections)
    facts = list(sections[arguments.name]())
    width = max(len(name) for name, _ in facts)
    room = terminal_width()
    for name, value in facts:
        text = str(value) if room is None else broken(str(value), max(20, room - width - 2))
        first, *rest = text.split("\n")
        print(f"{name:<{width}}  {first}")
        for line in rest:
            print(f"{'':<{width}}  {line}".rstrip())
    return 0


def task_facts(task: Task) -> list[tuple[str, object]]:
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


def method_facts(method: type[Method]) -> list[tuple[str, object]]:
    """A method's declaration."""
    return [
        ("method", f"{method.name} (version {method.version})"),
        ("kind", method.kind),
        ("fields", fields_in_words(method)),
        ("about", inspect.getdoc(method) or ""),
        ("defined in", method.__module__),
    ]


def protocol_facts(protocol: Protocol) -> list[tuple[str, object]]:
    """Every training choice."""
    return [(field.name.replace("_", " "), getattr(protocol, field.name)) for field in dataclasses.fields(protocol)]


def adapter_facts(adapter: Adapter) -> list[tuple[str, object]]:
    """What an adapter reads."""
    from divsal_bench.data.reading import OPTIONS

    options = [(f"option {name}", meaning) for name, meaning in {**adapter.options, **OPTIONS}.items()]
    return [("adapter", adapter.name), ("reads", adapter.description), *options]
