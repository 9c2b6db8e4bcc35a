"""The checks of a method and of a task, in the order in which they build on each other."""

from __future__ import annotations

from divsal_bench.conformance import declarations, drawings, handover, isolation, kinds, losses, purity, smoke
from divsal_bench.conformance.checks import Check
from divsal_bench.conformance.drawings import DrawnTask
from divsal_bench.contracts.method import Method
from divsal_bench.registry import plugins

MethodStages = tuple[tuple[Check[type[Method]], ...], ...]
TaskStages = tuple[tuple[Check[DrawnTask], ...], ...]

#: What takes seconds in all; the tests look at each of these for every registered method.
METHOD: MethodStages = (
    (Check("contract", declarations.method_contract),),
    (
        Check("fields", declarations.method_fields),
        Check("docstring", declarations.docstring),
        Check("signatures", declarations.signatures),
        Check("imports", declarations.method_file),
    ),
    (Check("leaves other runs alone", isolation.leaves_others_alone),),
    (losses.ON_AN_ORDINARY_BATCH,),
    (
        *losses.ON_OTHERS,
        *losses.RELATIONS,
        Check("kind", kinds.declared_kind),
        Check("repeatable", purity.repeatable),
        Check("nothing changed in place", purity.in_place),
        Check("no file, connection or process", purity.no_files),
        Check("handed neither task name, path nor held-out rows", handover.handed_over),
    ),
)

#: What needs no training; the tests look at each of these for every registered task.
TASK: TaskStages = (
    (Check("contract", drawings.task_contract), Check("imports", drawings.task_file)),
    (Check("stand-in: schema", drawings.schema),),
    (
        Check("stand-in: splits", drawings.drawn_splits),
        Check("stand-in: maps", drawings.drawn_maps),
        Check("stand-in: conditions", drawings.structure),
        Check("stand-in: deterministic", drawings.deterministic),
        Check("stand-in: variants", drawings.variants),
    ),
    (Check("stand-in: shortcut", drawings.drawn_shortcut),),
)


def of_method() -> MethodStages:
    """Everything, with a short run on the stand-in of every task."""
    return (*METHOD, tuple(smoke.on_task(task) for task in plugins.tasks().found))


def of_task() -> TaskStages:
    """Everything, with a short run of cross-entropy."""
    return (*TASK, (Check("short run of cross-entropy", runs_cross_entropy),))


def runs_cross_entropy(one: DrawnTask) -> str:
    """Cross-entropy on the task's stand-in."""
    method = plugins.methods().get("cross-entropy")
    with smoke.workplace() as folder, smoke.registered(one.task):
        return smoke.run_summary(smoke.short_run(one.task.name, method, smoke.one_epoch(), folder / "runs"))
