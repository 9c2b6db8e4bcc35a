"""What a task declares, and what its drawn stand-in promises, read off rows and pixels; no training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from divsal_bench.conformance.checks import BreachError
from divsal_bench.conformance.declarations import imports
from divsal_bench.contracts.adapter import Split
from divsal_bench.contracts.task import VARIANTS, FieldMetric, StandIn, Task
from divsal_bench.data.catalogue import STANDIN_SEED
from divsal_bench.data.fingerprint import pixel_hash
from divsal_bench.registry import plugins
from divsal_bench.scores import conditions, metrics

if TYPE_CHECKING:
    import pandas as pd

PLAIN, ORACLE, NULL = VARIANTS
COLUMNS = ("sample_id", "split", "label", "source", "category", "subject", "saliency_kind")
SPLITS = get_args(Split)
TEXTS = ("title", "description", "category_meaning", "citation", "licence")
#: Rows of each class that an unseen condition needs for an AUROC worth a mean.
ENOUGH = 40
#: Negatives that an operating point at 1 % needs, to be set on validation and to be looked at in-domain.
NEGATIVES = 100
#: AUROC of the shortcut's state for the label: at least this where it is a shortcut …
SHORTCUT = 0.85
#: … and within this of ½ where it is not: in the oracle's training rows, and in every unseen condition.
CHANCE_IN_TRAINING, CHANCE_UNSEEN = 0.12, 0.16


class DrawnTask:
    """A task, its file, and its stand-ins, each drawn once."""

    def __init__(self, task: Task, file: Path) -> None:
        self.task = task
        self.file = file
        self.seconds: dict[str, float] = {}
        self._drawn: dict[str, StandIn] = {}

    def drawn(self, variant: str) -> StandIn:
        """One variant, at the seed that runs use."""
        if variant not in self._drawn:
            started = time.perf_counter()
            self._drawn[variant] = self.task.draw_standin(variant, STANDIN_SEED)
            self.seconds[variant] = time.perf_counter() - started
        return self._drawn[variant]


def task_contract(one: DrawnTask) -> str:
    """Names, texts, classes and metrics."""
    task = one.task
    try:
        plugins.check_task(task)
    except TypeError as error:
        raise BreachError(f"{error} (in {one.file.name})") from error
    other = plugins.tasks().found.get(task.name)
    if other not in (None, task):
        raise BreachError(f"the name {task.name!r} is taken by another task; choose another")
    for name in TEXTS:
        if not isinstance(getattr(task, name), str) or not getattr(task, name).strip():
            raise BreachError(f"{name} is empty; tables and listings show it")
    names = task.class_names
    if len(names) != 2 or len({str(name).lower() for name in names}) != 2 or not all(names):
        raise BreachError(f"class_names is {names!r}; name class 0 (negative) and class 1 (positive)")
    if task.channels not in (1, 3):
        raise BreachError(f"channels is {task.channels!r}; write 1 for grey or 3 for RGB images")
    for name in ("version", "standin_version"):
        value = getattr(task, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BreachError(f"{name} is {value!r}; write 1, and raise it with every change")
    known = get_args(FieldMetric)
    for metric in task.field_metrics:
        if metric not in known:
            raise BreachError(f"field_metrics names {metric!r}, which is not computed; known: {', '.join(known)}")
    return f"{names[0]} / {names[1]}, {len(task.field_metrics)} field metrics"


def task_file(one: DrawnTask) -> str:
    """A task's file imports the contracts, errors and other task modules, and nothing slow at its top."""
    return imports(one.file, ("contracts", "errors", "tasks"))


def schema(one: DrawnTask) -> str:
    """Columns, types and shapes of the contract."""
    drawn: object = one.drawn(PLAIN)
    if not isinstance(drawn, StandIn):
        raise BreachError(f"draw_standin returned {type(drawn).__name__}; return a StandIn(rows, images, maps)")
    rows, count = drawn.rows, len(drawn.rows)
    missing = [name for name in COLUMNS if name not in rows]
    if missing:
        raise BreachError(f"rows has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    shapes = {"images": (3,) * (one.task.channels == 3), "maps": ()}
    for name, colours in shapes.items():
        array = getattr(drawn, name)
        side = array.shape[1] if array.ndim > 1 else 0
        if array.dtype != np.uint8 or array.shape != (count, side, side, *colours):
            wanted = ", ".join(map(str, ("N", "S", "S", *colours)))
            raise BreachError(f"{name} are {array.dtype} of shape {array.shape}; they must be uint8, ({wanted})")
    if drawn.maps.shape[1] != drawn.images.shape[1]:
        raise BreachError("maps and images differ in size; a map is in its image's geometry")
    if not rows["sample_id"].is_unique:
        raise BreachError("a sample_id occurs twice; number the rows")
    for name, allowed in {"split": set(SPLITS), "label": {0, 1}, "saliency_kind": {"mask", "none"}}.items():
        if set(rows[name]) - allowed:
            raise BreachError(f"{name} holds {sorted(set(rows[name]) - allowed)}; it may hold {sorted(allowed)}")
    if ((rows["category"] == "") != (rows["label"] == 0)).any():
        raise BreachError("category must be '' for negatives and name something for every positive")
    return f"{count:,} rows, {drawn.images.shape[1]} px, drawn in {one.seconds[PLAIN]:.1f} s (aim: 3 s)"


def drawn_splits(one: DrawnTask) -> str:
    """Both classes in training and validation, and nobody and no image in two splits."""
    drawn = one.drawn(PLAIN)
    rows = drawn.rows
    for split in SPLITS:
        if rows.loc[rows["split"] == split, "label"].nunique() < 2:
            raise BreachError(f"the {split} split does not hold both classes; draw some of each")
    shared = rows.groupby("subject")["split"].nunique()
    if (shared > 1).any():
        raise BreachError(f"subject {shared.idxmax()!r} is in {shared.max()} splits; a subject belongs to one")
    where: dict[bytes, str] = {}
    for image, split, name in zip(drawn.images, rows["split"], rows["sample_id"], strict=True):
        if where.setdefault(image.tobytes(), split) != split:
            raise BreachError(f"the image of {name!r} is in two splits; draw every image anew")
    return ", ".join(f"{split} {(rows['split'] == split).sum():,}" for split in SPLITS)


def drawn_maps(one: DrawnTask) -> str:
    """Where ``saliency_kind`` is mask, the map marks a part of the image; elsewhere it is empty."""
    drawn = one.drawn(PLAIN)
    kinds = (drawn.rows["saliency_kind"] == "mask").to_numpy()
    marked, full = drawn.maps.any((1, 2)), (drawn.maps == 255).all((1, 2))
    wrong = np.flatnonzero(marked != kinds)
    if len(wrong):
        name = drawn.rows["sample_id"].iloc[wrong[0]]
        raise BreachError(
            f"{len(wrong)} rows, among them {name!r}, have an empty map called mask, or a map called none; set "
            "saliency_kind by maps.any((1, 2))"
        )
    if full.any():
        raise BreachError(f"{full.sum()} maps mark the whole image, which says nothing; mark the evidence")
    trained = kinds & (drawn.rows["split"] == "train").to_numpy()
    tested = kinds & (drawn.rows["split"] == "test").to_numpy()
    if not trained.any() or not tested.any():
        raise BreachError("training and test rows need some maps, to guide with and to compare with")
    share = float((drawn.maps[kinds] > 0).mean())
    return f"{kinds.sum():,} maps, {share:.0%} of the image on average"


def structure(one: DrawnTask) -> str:
    """An in-domain condition and unseen ones on both axes, with enough rows to measure them."""
    rows = one.drawn(PLAIN).rows
    found = conditions.conditions(rows)
    if {condition.axis for condition in found} != {"in-domain", "source", "category"}:
        raise BreachError(
            "test rows need all of: a source and a category that training has, a source that it lacks, and a category "
            "that it lacks"
        )
    primary = [condition.name for condition in found if condition.in_primary]
    if len(primary) < 2:
        raise BreachError(f"{len(primary)} unseen conditions have both classes; two are needed for a mean")
    for condition in found:
        fewest = min(condition.positives.sum(), condition.negatives.sum())
        if condition.has_auroc and fewest < ENOUGH:
            raise BreachError(f"condition {condition.name} has {fewest} rows of one class; draw at least {ENOUGH}")
    inside = next(int(condition.negatives.sum()) for condition in found if condition.name == conditions.IN_DOMAIN)
    validation = int(((rows["split"] == "validation") & (rows["label"] == 0)).sum())
    if min(inside, validation) < NEGATIVES:
        raise BreachError(
            f"{validation} negatives in validation and {inside} in-domain test negatives; operating points need "
            f"{NEGATIVES} in each"
        )
    return f"unseen, with both classes: {', '.join(primary)}"


def deterministic(one: DrawnTask) -> str:
    """The same seed draws the same rows and pixels, another seed others; the released hashes are shown."""
    plain = one.drawn(PLAIN)
    again = one.task.draw_standin(PLAIN, STANDIN_SEED)
    if not (same_drawn_rows(plain, again) and same_pixels(plain, again)):
        raise BreachError("drawing twice with one seed gives two data sets; derive every generator from the seed")
    if np.array_equal(plain.images, one.task.draw_standin(PLAIN, STANDIN_SEED + 1).images):
        raise BreachError("another seed draws the same images; derive every generator from the seed")
    drawn = {variant: pixel_hash(one.drawn(variant).images, one.drawn(variant).maps) for variant in VARIANTS}
    if not one.task.standin_pixels:
        return f"to be recorded: standin_pixels={drawn}"
    different = [variant for variant, digest in drawn.items() if one.task.standin_pixels.get(variant) != digest]
    return f"other pixels than the release's in {', '.join(different)} (numpy {np.__version__})" if different else ""


def variants(one: DrawnTask) -> str:
    """The oracle differs in training images alone, the null variant in images alone."""
    plain, oracle, null = (one.drawn(variant) for variant in VARIANTS)
    train = (plain.rows["split"] == "train").to_numpy()
    for variant, other in ((ORACLE, oracle), (NULL, null)):
        if not same_drawn_rows(plain, other) or not np.array_equal(plain.maps, other.maps):
            raise BreachError(f"{variant} has other rows or maps than {PLAIN}; only the shortcut may differ")
    if not np.array_equal(plain.images[~train], oracle.images[~train]):
        raise BreachError(f"{ORACLE} has other validation or test images than {PLAIN}; change training rows alone")
    if np.array_equal(plain.images[train], oracle.images[train]):
        raise BreachError(f"{ORACLE} has the training images of {PLAIN}; make the shortcut independent there")
    if np.array_equal(plain.images, null.images):
        raise BreachError(f"{NULL} has the images of {PLAIN}; leave the shortcut out")
    return ""


def drawn_shortcut(one: DrawnTask) -> str:
    """The shortcut predicts the label where it is one, and nowhere else."""
    trained = {}
    for variant in (PLAIN, ORACLE):
        rows = one.drawn(variant).rows
        label, split = rows["label"].to_numpy(), rows["split"].to_numpy(dtype=str)
        state = shortcut_state(one, variant)
        validation = metrics.auroc(label[split == "validation"], state[split == "validation"])
        if validation <= SHORTCUT:
            raise BreachError(
                f"{variant}: the shortcut tells the validation labels with AUROC {validation:.2f} only; it must agree "
                f"with them, above {SHORTCUT}"
            )
        trained[variant] = metrics.auroc(label[split == "train"], state[split == "train"])
        test = np.flatnonzero(split == "test")
        for condition in conditions.conditions(rows):
            members = test[condition.positives | condition.negatives]
            told = metrics.auroc(label[members], state[members])
            if condition.in_primary and abs(told - 0.5) >= CHANCE_UNSEEN:
                raise BreachError(
                    f"{variant}: in the unseen condition {condition.name} the shortcut tells the label with AUROC "
                    f"{told:.2f}; draw it independent of the label there"
                )
    if trained[PLAIN] <= SHORTCUT:
        raise BreachError(
            f"the shortcut tells the training labels with AUROC {trained[PLAIN]:.2f}, not above {SHORTCUT}"
        )
    if abs(trained[ORACLE] - 0.5) >= CHANCE_IN_TRAINING:
        raise BreachError(
            f"{ORACLE}: the shortcut tells the training labels with AUROC {trained[ORACLE]:.2f}; draw it independent "
            "of the label there"
        )
    return f"AUROC for the training labels {trained[PLAIN]:.2f}, in the oracle {trained[ORACLE]:.2f}"


def shortcut_state(one: DrawnTask, variant: str) -> metrics.Floats:
    """How strongly each row shows the shortcut's positive state, (N,), read off what the null variant lacks.

    Of two measures, how much was added and in which direction, the one that tells the validation labels.
    """
    drawn = one.drawn(variant)
    added = drawn.images.astype(np.float32) - one.drawn(NULL).images
    colour = added.mean((1, 2)) if added.ndim == 4 else added.reshape(len(added), -1)
    centred = colour - colour.mean(0)
    axis = np.linalg.svd(centred[:400], full_matrices=False)[2][0]
    states = [np.abs(added).reshape(len(added), -1).max(1), centred @ axis]
    validation = (drawn.rows["split"] == "validation").to_numpy()
    label = drawn.rows["label"].to_numpy()[validation]
    agreement = [metrics.auroc(label, state[validation]) - 0.5 for state in states]
    best = int(np.argmax(np.abs(agreement)))
    return np.asarray(states[best] * np.sign(agreement[best]), dtype=np.float64)


def same_drawn_rows(one: StandIn, other: StandIn) -> bool:
    """Whether two draws have the same rows in the same order."""
    mine: pd.DataFrame = one.rows[list(COLUMNS)].reset_index(drop=True)
    return bool(mine.equals(other.rows[list(COLUMNS)].reset_index(drop=True)))


def same_pixels(one: StandIn, other: StandIn) -> bool:
    """Whether two draws have the same images and maps."""
    return np.array_equal(one.images, other.images) and np.array_equal(one.maps, other.maps)
