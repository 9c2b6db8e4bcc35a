"""A drawn portrait in colour: is a live face (0) or a presentation attack (1) before the camera?

Drawn are a room, shoulders, neck, hair, and a lit face with brows, eyes, nose and mouth, by four collections
that differ in room, focus, contrast, noise and white balance. Skin, hair and build belong to the subject.

Cause: the surface of the face, which the map marks (the visible face, attacked or not). Live skin has
irregular grain and is shaded by its relief. Every attack flattens that shading and lays a regular texture
over the face, from faint to plain: ``print`` the turned halftone screens of three inks, ``replay`` scan
lines and coloured moiré. Only in the test split: ``tablet``, the square pixel grid of another display;
``paper-mask``, coarsely printed and cut out at the eyes; and the sources ``collection-c``, ``collection-d``.

Shortcut: **inside the map**. The lamp before the attacked faces was a cooler one, and its bluish cast lies
on the same skin as the cause. A map cannot tell the two apart, so guidance by maps cannot help here: this is
the control among the tasks. The cast survives the flips, shifts and rotations of training.
"""

from __future__ import annotations

import numpy as np

from divsal_bench.contracts.task import StandIn
from divsal_bench.tasks.standins.drawing import (
    SIZE,
    Array,
    Coordinates,
    Value,
    band_noise,
    blob,
    blur,
    coordinates,
    ellipse,
    finish,
    in_blocks,
    lay_out,
    named_stream,
    per_image,
    shortcut,
    smooth_noise,
    soft_step,
    subject_codes,
    white_noise,
)

#: How often the cool cast agrees with the label where it is a shortcut.
AGREEMENT = 0.97

#: Collection: blur (pixels), contrast, noise, warmth of the white balance, brightness of the room.
COLLECTIONS = {
    "collection-a": (0.40, 1.00, 0.020, 0.00, 0.62),
    "collection-b": (0.50, 0.92, 0.026, 0.03, 0.42),
    "collection-c": (0.55, 0.88, 0.032, -0.03, 0.75),
    "collection-d": (0.35, 1.12, 0.036, 0.05, 0.25),
}

#: Split, source, then the number of images of each of :data:`CATEGORIES`.
LAYOUT = (
    ("train", "collection-a", 145, 70, 65, 0, 0),
    ("train", "collection-b", 135, 65, 70, 0, 0),
    ("validation", "collection-a", 65, 30, 25, 0, 0),
    ("validation", "collection-b", 60, 30, 30, 0, 0),
    ("test", "collection-a", 70, 30, 32, 55, 55),
    ("test", "collection-b", 65, 32, 30, 55, 55),
    ("test", "collection-c", 100, 50, 50, 0, 0),
    ("test", "collection-d", 100, 50, 50, 0, 0),
)
CATEGORIES = ("", "print", "replay", "tablet", "paper-mask")

#: Skin and hair from light to dark; a subject lies between two neighbours.
SKINS = np.array([(0.95, 0.80, 0.71), (0.84, 0.64, 0.50), (0.66, 0.46, 0.34), (0.45, 0.30, 0.22)], np.float32)
HAIRS = np.array([(0.80, 0.66, 0.42), (0.55, 0.52, 0.50), (0.36, 0.22, 0.13), (0.10, 0.08, 0.08)], np.float32)
#: What a cool lamp adds to red, green and blue.
COOL = np.array([-0.6, 0.0, 0.7], np.float32)
#: What a warm white balance adds to them.
WARM = np.array([1.0, 0.0, -1.0], np.float32)
#: Contrast of an attack's texture at full strength, as a share of the brightness below it.
TEXTURE = 0.155
TAU = np.float32(2.0 * np.pi)


def draw(variant: str, seed: int) -> StandIn:
    """Draw the images of one variant; variants differ in the cool cast and in nothing else."""
    rows = lay_out("face-pad", seed, LAYOUT, CATEGORIES)
    n, person = len(rows), subject_codes(rows)
    attack, category = rows["label"].to_numpy() == 1, rows["category"].to_numpy(dtype=str)
    cast = shortcut(rows, variant, named_stream("face-pad", seed, "cast"), AGREEMENT)

    body = named_stream("face-pad", seed, "subjects")
    scene = named_stream("face-pad", seed, "images")
    camera = np.array([COLLECTIONS[source] for source in rows["source"]], dtype=np.float32)
    parameters = {
        "build": body.uniform(-1.0, 1.0, (n, 10))[person],  # anatomy: ten numbers a subject
        "skin": shade(SKINS, body.random(n))[person],
        "hair": shade(HAIRS, body.random(n))[person],
        "pose": scene.uniform(-1.0, 1.0, (n, 5)),
        "clothes": scene.uniform(0.1, 0.8, (n, 3)).astype(np.float32),
        "wall": tint(camera[:, 4], 0.12, scene),
        "door": tint(camera[:, 4] - 0.1, 0.20, scene),
        "light": scene.uniform(-1.0, 1.0, (n, 3)),
        "category": category,
        "strength": scene.uniform(0.25, 1.0, n) * attack,
        "screen": scene.uniform(-1.0, 1.0, (n, 4)),
        "cast": cast * scene.uniform(0.15, 0.20, n) * (variant != "standin:null"),
        "blur": camera[:, 0],
        "contrast": camera[:, 1],
        "noise": camera[:, 2],
        "warmth": camera[:, 3] + scene.uniform(-0.02, 0.02, n),
    }
    images, maps = in_blocks(paint_portraits, parameters, named_stream("face-pad", seed, "textures"))
    # People mark what they inspect, on half of the live faces too; a tenth of the attacks have no map.
    return finish(rows, images, maps, scene.random(n) < np.where(attack, 0.9, 0.5))


def tint(grey: Array, spread: float, rng: np.random.Generator) -> Array:
    """Return dull colours about a grey, as (N, 3)."""
    colour = grey[:, None] + rng.uniform(-spread, spread, (len(grey), 1)) + rng.uniform(-0.06, 0.06, (len(grey), 3))
    return np.asarray(colour, dtype=np.float32)


def shade(palette: Array, position: Array) -> Array:
    """Return colours along a palette, ``position`` 0 to 1, as (N, 3)."""
    at = position * (len(palette) - 1)
    i = at.astype(np.int64)
    return np.asarray(palette[i] + (at - i)[:, None] * (palette[i + 1] - palette[i]), dtype=np.float32)


def paint_portraits(p: dict[str, Array], rng: np.random.Generator) -> tuple[Array, Array]:
    """Paint a block of portraits and the maps of their visible faces."""
    n = len(p["blur"])
    build, pose, light = (p[key].T.astype(np.float32) for key in ("build", "pose", "light"))
    skin, hair, species = p["skin"], p["hair"], p["category"]

    # Bottom up: a wall and a door, hair behind the head, shoulders, neck, and a face with a hairline.
    edge = per_image(0.75 * pose[4])
    xy = x, y = coordinates(0.07 * pose[0], 0.07 * pose[1] - 0.02, 1.0 + 0.07 * pose[2], 0.10 * pose[3])
    width, height = 0.47 + 0.04 * build[0], 0.63 + 0.04 * build[1]
    narrow = per_image(width) * (1.0 - 0.28 * np.clip(y, 0.0, 1.0))  # towards the chin
    r = np.sqrt((x / narrow) ** 2 + ((y - 0.03) / per_image(height)) ** 2)
    fringe = y + per_image(0.40 + 0.08 * build[3]) - 0.35 * (x + 0.15 * per_image(build[4])) ** 2
    face = soft_step(1.0 - r, 0.06) * soft_step(fringe, 0.05)
    layers = [
        (np.ones_like(r), p["wall"]),
        (np.broadcast_to(soft_step(np.sign(edge) * (coordinates()[0] - edge), 0.02), r.shape), p["door"]),
        (ellipse(xy, 0.0, -0.14, width + 0.10, height * 0.92, 0.0, 0.07), hair),
        (ellipse(xy, 0.0, 0.30, width + 0.12, 0.75, 0.0, 0.07) * per_image(build[2] > 0.2), hair),
        (ellipse(xy, 0.0, 1.22, 0.95, 0.50, 0.0, 0.05), p["clothes"]),
        (soft_step(0.23 - np.abs(x), 0.05) * soft_step(0.86 - y, 0.06) * soft_step(y - 0.2, 0.1), 0.72 * skin),
        (face, skin),
        *face_layers(xy, p),
    ]
    image = flatten(layers)
    image += 0.04 * smooth_noise(rng, n, 4)[:, None]

    # Live skin: relief lit from one side, and irregular grain. An attack is flat and has a texture instead.
    flat = np.where(species == "paper-mask", 0.8, 0.4) * p["strength"]
    nose = blob(xy, 0.0, 0.05, 0.05, 0.16) - 0.8 * blob(xy, np.sign(light[0]) * -0.10, 0.10, 0.06, 0.16)
    relief = 0.06 - 0.26 * r * r + per_image(0.22 * light[0]) * x - 0.08 * y + 0.16 * nose
    grain = per_image(0.05 + 0.02 * build[5]) * band_noise(rng, n, 4.0, 13.0)
    surface = (per_image(1.0 - flat) * relief + grain)[:, None]
    image *= 1.0 + face[:, None] * (surface + per_image(TEXTURE * p["strength"])[:, None] * attack_texture(p, x, y))
    image += (face * per_image(p["cast"]))[:, None] * COOL[:, None, None]  # the shortcut

    image = blur(image.reshape(3 * n, *r.shape[1:]), np.repeat(p["blur"], 3)).reshape(image.shape)
    image = 0.5 + (image - 0.5) * per_image(p["contrast"])[:, None]
    image += (per_image(0.05 * light[2]) + per_image(p["noise"]) * white_noise(rng, n))[:, None]
    image += per_image(p["warmth"])[:, None] * WARM[:, None, None]
    return np.moveaxis(image, 1, -1), face


def face_layers(xy: Coordinates, p: dict[str, Array]) -> list[tuple[Array, Array]]:
    """Return layers: brows, eyes, nostrils, cheeks, lips; a paper mask has dark-rimmed holes for the eyes."""
    build, skin = p["build"].T.astype(np.float32), p["skin"]
    half = np.abs(xy[0]), xy[1]  # both sides at once
    apart, level = 0.205 + 0.02 * build[6], -0.07 + 0.02 * build[7]
    wide, lip = 0.17 + 0.03 * build[8], 0.05 + 0.012 * build[9]
    hole = per_image((p["category"] == "paper-mask") * p["strength"])
    return [
        (hole * ellipse(half, apart, level, 0.155, 0.095, 0.0, 0.2), 0.25 * skin),
        (ellipse(half, apart, level - 0.15, 0.12, 0.03, 0.12, 0.4), 0.55 * p["hair"]),
        (ellipse(half, apart, level - 0.02, 0.12, 0.065, 0.0, 0.25), 0.45 * skin),
        (ellipse(half, apart, level, 0.105, 0.05, 0.0, 0.25), np.full_like(skin, 0.92)),
        (ellipse(half, apart, level, 0.045, 0.052, 0.0, 0.3), np.full_like(skin, 0.16)),
        (0.8 * blob(half, 0.06, 0.21, 0.03, 0.02), 0.45 * skin),
        (0.5 * blob(half, 0.26, 0.18, 0.10, 0.08), skin * np.array([1.0, 0.75, 0.72], np.float32)),
        (ellipse(xy, 0.0, 0.38, wide, lip, 0.0, 0.25), skin * np.array([0.85, 0.55, 0.55], np.float32)),
        (ellipse(xy, 0.0, 0.38, 0.9 * wide, 0.013, 0.0, 0.6), 0.4 * skin),
    ]


def flatten(layers: list[tuple[Array, Array]]) -> Array:
    """Merge layers, bottom first, of opacity (n, S, S) and colour (n, 3), to images (n, 3, S, S).

    One product of matrices instead of a pass over three channels for each layer.
    """
    n = len(layers[0][0])
    clear = np.ones((n, SIZE, SIZE), np.float32)
    share = np.empty((n, len(layers), SIZE, SIZE), np.float32)
    for i, (alpha, _) in reversed(list(enumerate(layers))):
        share[:, i] = clear * alpha
        clear -= share[:, i]
    colour = np.stack([colour for _, colour in layers], axis=2)
    return np.asarray(colour @ share.reshape(n, len(layers), -1)).reshape(n, 3, SIZE, SIZE)


def attack_texture(p: dict[str, Array], x: Array, y: Array) -> Array:
    """Return what each attack species lays over the face, (n, 3, S, S), about -1 to 1, and 0 for live."""
    result = np.zeros((len(x), 3, *x.shape[1:]), np.float32)
    up, channels = np.pi / 2.0, np.arange(3)
    for species in CATEGORIES[1:]:
        k = np.flatnonzero(p["category"] == species)
        screen = p["screen"][k].T
        turn, phase, moire = 0.45 + 0.3 * screen[0], np.pi * screen[1], 0.3 * screen[3]
        xy = x[k], y[k], 1.0 + 0.12 * screen[2]
        if species in ("print", "paper-mask"):  # three inks, each with its own screen; a mask's is coarser
            period, fan, ink = (4.2, 0.35, 1.0) if species == "print" else (4.8, 0.15, 0.75)
            turns = [turn + fan * channel for channel in channels]
            layers = [ink * (stripes(*xy, a, period, phase) + stripes(*xy, a + up, period, phase)) for a in turns]
        elif species == "replay":  # scan lines, and coloured bands where screen and camera disagree
            scan = 0.9 * stripes(*xy, up, 3.6, phase)
            layers = [scan + 0.7 * stripes(*xy, moire, 9.0, phase + 2.1 * channel) for channel in channels]
        else:  # tablet: a grid of pixels, and bands that stand steeper
            mesh = 0.8 * (stripes(*xy, up, 3.9, phase) + stripes(*xy, 0.0, 3.9, phase))
            layers = [mesh + 0.4 * stripes(*xy, moire + 0.8, 7.0, phase + 2.1 * channel) for channel in channels]
        result[k] = np.stack(layers, axis=1)
    return result


def stripes(x: Array, y: Array, pitch: Array, angle: Value, period: float, phase: Array) -> Array:
    """Return stripes ``period`` pixels apart, times the device's own pitch."""
    cycles = TAU * (SIZE / 2) / (period * pitch)
    across = per_image(np.cos(angle) * cycles) * x + per_image(np.sin(angle) * cycles) * y
    return np.asarray(np.sin(across + per_image(phase)))
