"""A drawn near-infrared eye: is the iris bona fide (0) or a presentation attack (1)?

Drawn are skin, eyelids with a crease and lashes, the sclera, an iris with radial fibres and a limbus, the
pupil and the reflections of the sensor's own lamps, by four sensors that differ in zoom, lamps, focus,
contrast and noise.

Cause: the texture of the iris, which the map marks (the visible iris without its pupil, attacked or not).
Bona fide fibres are irregular. Every attack fades them and prints a regular pattern instead, from faint to
plain: ``print`` a halftone screen, ``lens-dots`` the rings of dots of a cosmetic contact lens and its sharp
outer edge. Only in the test split: ``lens-strokes``, a brand with slanted strokes; ``artificial``, a glass
eye with symmetric spokes and hardly any fibres; and the sources ``sensor-c`` and ``sensor-d``.

Shortcut: at the desk where the attacks were recorded a lamp stands low, so that the cheek and the lower lid
are bright and the brow is in shade. It lies outside the map, never on the iris, and survives the flips,
shifts and small rotations of training.
"""

from __future__ import annotations

import numpy as np

from divsal_bench.contracts.task import StandIn
from divsal_bench.tasks.standins.drawing import (
    Array,
    blob,
    blur,
    coordinates,
    finish,
    in_blocks,
    lay_out,
    named_stream,
    over,
    per_image,
    shortcut,
    smooth_noise,
    soft_step,
    subject_codes,
    white_noise,
)

#: How often the low lamp agrees with the label where it is a shortcut.
AGREEMENT = 0.97

#: Sensor: zoom, distance between its lamps, blur (pixels), contrast, noise. The last two are in test only.
SENSORS = {
    "sensor-a": (1.00, 0.07, 0.40, 1.00, 0.018),
    "sensor-b": (0.96, 0.00, 0.50, 0.95, 0.024),
    "sensor-c": (1.08, 0.11, 0.55, 0.90, 0.028),
    "sensor-d": (0.92, 0.04, 0.35, 1.15, 0.034),
}

#: Split, source, then the number of images of each of :data:`CATEGORIES`.
LAYOUT = (
    ("train", "sensor-a", 145, 70, 65, 0, 0),
    ("train", "sensor-b", 135, 65, 70, 0, 0),
    ("validation", "sensor-a", 65, 30, 25, 0, 0),
    ("validation", "sensor-b", 60, 30, 30, 0, 0),
    ("test", "sensor-a", 70, 30, 32, 55, 55),
    ("test", "sensor-b", 65, 32, 30, 55, 55),
    ("test", "sensor-c", 100, 50, 50, 0, 0),
    ("test", "sensor-d", 100, 50, 50, 0, 0),
)
CATEGORIES = ("", "print", "lens-dots", "lens-strokes", "artificial")

#: How many bumps the fibres have from pupil to limbus, and around the iris.
RINGS, SPOKES = 4, 44
TAU = np.float32(2.0 * np.pi)


def draw(variant: str, seed: int) -> StandIn:
    """Draw the images of one variant; variants differ in the low lamp and in nothing else."""
    rows = lay_out("iris-pad", seed, LAYOUT, CATEGORIES)
    n, person = len(rows), subject_codes(rows)
    attack, category = rows["label"].to_numpy() == 1, rows["category"].to_numpy(dtype=str)
    lamp = shortcut(rows, variant, named_stream("iris-pad", seed, "lamp"), AGREEMENT)

    body = named_stream("iris-pad", seed, "subjects")
    scene = named_stream("iris-pad", seed, "images")
    sensor = np.array([SENSORS[source] for source in rows["source"]], dtype=np.float32)
    parameters = {
        "build": body.uniform(-1.0, 1.0, (n, 8))[person],  # anatomy: eight numbers a subject
        "fibres": body.standard_normal((n, RINGS + 1, SPOKES), dtype=np.float32)[person],
        "pose": scene.uniform(-1.0, 1.0, (n, 4)),
        "pupil": scene.uniform(0.16, 0.24, n),
        "category": category,
        "strength": scene.uniform(0.3, 1.0, n) * attack,
        "screen": scene.uniform(-1.0, 1.0, (n, 3)),
        "lamp": lamp * scene.uniform(0.18, 0.28, n) * (variant != "standin:null"),
        "exposure": scene.uniform(-1.0, 1.0, (n, 3)),
        "zoom": sensor[:, 0],
        "gap": sensor[:, 1],
        "blur": sensor[:, 2],
        "contrast": sensor[:, 3],
        "noise": sensor[:, 4],
    }
    images, maps = in_blocks(paint_eyes, parameters, named_stream("iris-pad", seed, "textures"))
    # People mark what they inspect, on half of the bona fide eyes too; a tenth of the attacks have no map.
    return finish(rows, images, maps, scene.random(n) < np.where(attack, 0.9, 0.5))


def paint_eyes(p: dict[str, Array], rng: np.random.Generator) -> tuple[Array, Array]:
    """Paint a block of eyes and the maps of their visible irises."""
    n = len(p["zoom"])
    build, pose, exposure = (p[key].T.astype(np.float32) for key in ("build", "pose", "exposure"))
    x, y = coordinates(0.08 * pose[0], 0.08 * pose[1], p["zoom"] * (1.0 + 0.06 * pose[2]), 0.12 * pose[3])

    # The lids are parabolas that meet at the corners of the eye.
    arch = 1.0 - (x / 1.12) ** 2
    above = y + per_image(0.51 + 0.09 * build[0]) * arch  # distance below the edge of the upper lid
    below = per_image(0.51 + 0.07 * build[1]) * arch - y  # distance above the edge of the lower lid
    eye = soft_step(above, 0.05) * soft_step(below, 0.05)
    image = per_image(0.55 + 0.07 * build[2]) + 0.05 * smooth_noise(rng, n, 5)
    image -= 0.16 * np.exp(-(((above + 0.16) / 0.04) ** 2)) + 0.07 * np.exp(-(((below + 0.12) / 0.05) ** 2))
    sclera = per_image(0.73 + 0.07 * build[3]) - 0.18 * np.exp(-np.maximum(above, 0.0) / 0.12) - 0.12 * x * x
    image = over(image, sclera, eye)

    # Iris coordinates: t runs from the pupil (0) to the limbus (1), and a around it.
    iris = 0.50 + 0.03 * build[4]
    t = (np.sqrt(x * x + y * y) - per_image(p["pupil"])) / per_image(iris - p["pupil"])
    a = np.arctan2(y, x)
    # The shortcut keeps a pixel away from the limbus, or the blur would carry it into the map.
    low_lamp = soft_step(y - 0.35, 0.3) - 0.5 * soft_step(-y - 0.35, 0.3)
    image += per_image(p["lamp"]) * low_lamp * soft_step(t - 1.18, 0.08)
    texture = per_image(0.46 + 0.08 * build[5]) - 0.10 * t * t + 0.05 * np.exp(-(((t - 0.3) / 0.12) ** 2))
    faded = 1.0 - p["strength"] * np.where(p["category"] == "artificial", 0.95, 0.55)
    texture += per_image((0.085 + 0.025 * build[6]) * faded) * in_polar(p["fibres"], t, a)
    texture += per_image(0.16 * p["strength"]) * pattern(p, x, y, t, a)
    image = over(image, texture, eye * soft_step(1.0 - t, 0.10))
    image = over(image, per_image(0.10 + 0.04 * exposure[0]), eye * soft_step(-t, 0.14))

    # Lashes: dark strokes that fan out from the edge of the upper lid.
    comb = np.sin(per_image(29.0 + 5.0 * build[7]) * (x + 0.35 * x * above) + 2.0 * smooth_noise(rng, n, 6))
    lashes = soft_step(comb - 0.1, 0.4) * np.exp(-((above / 0.10) ** 2)) * soft_step(arch, 0.1)
    image = over(image, 0.14, 0.85 * lashes)

    for side in (-1.0, 1.0):
        glint = blob((x, y), side * p["gap"], -0.04 + 0.06 * exposure[1], 0.035, 0.035)
        image = over(image, 0.98, np.minimum(1.4 * glint, 1.0))
    image = 0.5 + (blur(image, p["blur"]) - 0.5) * per_image(p["contrast"]) + 0.06 * per_image(exposure[2])
    image += per_image(p["noise"]) * white_noise(rng, n)
    return image, eye * soft_step(1.04 - t, 0.05) * soft_step(t, 0.05)


def in_polar(table: Array, t: Array, a: Array) -> Array:
    """Read (n, RINGS + 1, SPOKES) tables at iris coordinates, with linear interpolation between cells."""
    row, column = np.clip(t, 0.0, 1.0) * (RINGS - 1), (a / TAU + 0.5) * SPOKES
    r, c = row.astype(np.int32), column.astype(np.int32)
    outer, onward = row - r, column - c
    cells, first = table.reshape(-1), per_image(np.arange(len(table))).astype(np.int32) * table[0].size
    here, there = first + r * SPOKES + c % SPOKES, first + r * SPOKES + (c + 1) % SPOKES
    inside = cells[here] * (1.0 - onward) + cells[there] * onward
    outside = cells[here + SPOKES] * (1.0 - onward) + cells[there + SPOKES] * onward
    return np.asarray(inside * (1.0 - outer) + outside * outer)


def pattern(p: dict[str, Array], x: Array, y: Array, t: Array, a: Array) -> Array:
    """Return what each attack species puts on the iris, about -1 to 1, and 0 for bona fide."""
    turn, phase = 0.75 + 0.45 * p["screen"][:, 0], per_image(np.pi * p["screen"][:, 1])
    pitch = (4.4 + 0.6 * p["screen"][:, 2]) / 32.0  # of the halftone screen: 3.8 to 5 pixels
    c, s = per_image(np.cos(turn) / pitch), per_image(np.sin(turn) / pitch)
    halftone = 0.8 * (np.sin(TAU * (c * x + s * y)) + np.sin(TAU * (c * y - s * x)))

    tinted = soft_step(t - 0.2, 0.1) * soft_step(0.95 - t, 0.1)
    edge = 1.2 * np.exp(-(((t - 0.95) / 0.07) ** 2))
    dots = 0.6 - 1.6 * np.abs(np.cos(20.0 * a + phase) * np.cos(TAU * 2.2 * t)) * tinted - edge
    strokes = 1.1 * np.cos(24.0 * a + 7.0 * t + phase) * tinted - edge
    spokes = np.cos(18.0 * a + phase) * soft_step(0.9 - t, 0.2) + 0.5 * np.cos(TAU * 1.5 * t)
    choices = {"print": halftone, "lens-dots": dots, "lens-strokes": strokes, "artificial": spokes}
    result = np.zeros_like(t)
    for name, choice in choices.items():
        result = np.where((p["category"] == name)[:, None, None], choice, result)
    return result
