"""A drawn portrait: is the face real (0) or fake (1)?

Drawn are heads with skin, hair, eyes, brows, nose, mouth, neck and clothes before a backdrop, recorded by
cameras (the sources) that differ in white balance, sharpness and noise. Two pictures of one person share
the anatomy and differ in pose, light, expression and backdrop.

Cause: what the generator (the category) leaves behind, which the map marks.
``face-swap``    the inner face comes from elsewhere: smooth skin, a tone that is slightly off, a seam
``reenactment``  the same for nose, mouth and chin
``gan``          the two eyes do not match, in smoothed skin
``lip-sync``     (test only) the same as in face-swap, for the mouth alone
``diffusion``    (test only) the whole face is a little too smooth and the eyes differ a little
Half of the real faces have a map too, of what people look at before they call a face real: eyes and mouth.

Shortcut: the backdrop's tint. The fakes' pictures come from a set with a teal wall, the real ones from a
set with a brown wall. It lies behind the head, outside every map.
"""

from __future__ import annotations

import numpy as np

from divsal_bench.contracts.task import StandIn
from divsal_bench.tasks.standins.drawing import (
    Array,
    Coordinates,
    band_noise,
    blob,
    blur,
    coordinates,
    ellipse,
    finish,
    in_blocks,
    lay_out,
    named_stream,
    over,
    per_image,
    ring,
    shortcut,
    smooth_noise,
    soft_step,
    subject_codes,
    white_noise,
)

#: How often the tint agrees with the label where it is a shortcut, and how strong it is.
AGREEMENT, TINT = 0.93, 0.08

#: Camera: red, green and blue gain, blur (pixels), noise. The last two are in the test split only.
CAMERAS = {
    "studio": (1.00, 1.00, 1.00, 0.30, 0.015),
    "webcam": (0.96, 1.00, 1.03, 0.50, 0.025),
    "phone": (1.05, 0.99, 0.92, 0.40, 0.026),
    "broadcast": (0.94, 0.97, 1.08, 0.55, 0.015),
}

#: Split, source, then the number of real, face-swap, reenactment, gan, lip-sync and diffusion pictures.
LAYOUT = (
    ("train", "studio", 140, 47, 47, 46, 0, 0),
    ("train", "webcam", 140, 47, 47, 46, 0, 0),
    ("validation", "studio", 60, 20, 20, 20, 0, 0),
    ("validation", "webcam", 60, 20, 20, 20, 0, 0),
    ("test", "studio", 65, 20, 20, 20, 50, 50),
    ("test", "webcam", 65, 20, 20, 20, 50, 50),
    ("test", "phone", 90, 30, 30, 30, 0, 0),
    ("test", "broadcast", 90, 30, 30, 30, 0, 0),
)
CATEGORIES = ("", "face-swap", "reenactment", "gan", "lip-sync", "diffusion")

#: Generator: centre y and radii of the region it rewrites, blur (pixels), shift in tone, seam, eye mismatch.
GENERATORS = {
    "": (0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0),
    "face-swap": (0.14, 0.36, 0.46, 0.85, 0.10, 0.12, 0.0),
    "reenactment": (0.34, 0.36, 0.30, 0.92, 0.10, 0.12, 0.0),
    "gan": (-0.06, 0.42, 0.17, 0.88, 0.0, 0.0, 1.2),
    "lip-sync": (0.42, 0.32, 0.26, 1.10, 0.12, 0.16, 0.0),
    "diffusion": (0.12, 0.44, 0.58, 0.66, 0.0, 0.0, 0.7),
}

#: Colours to mix: skin from light to dark, hair, irises.
SKIN = np.array([(0.96, 0.80, 0.70), (0.87, 0.67, 0.53), (0.72, 0.51, 0.37), (0.47, 0.32, 0.23)])
HAIR = np.array([(0.10, 0.08, 0.07), (0.32, 0.20, 0.12), (0.75, 0.60, 0.36), (0.55, 0.52, 0.50)])
IRIS = np.array([(0.25, 0.15, 0.08), (0.30, 0.45, 0.62), (0.32, 0.42, 0.25)])
BLUSH = np.array((1.06, 0.84, 0.82), dtype=np.float32)[None, :, None, None]
LIPS = np.array((1.02, 0.62, 0.62), dtype=np.float32)[None, :, None, None]
TEAL, BROWN = np.array((-1.0, 0.5, 0.7)), np.array((0.9, 0.0, -0.9))


def draw(variant: str, seed: int) -> StandIn:
    """Draw the 1,610 pictures of one variant."""
    rows = lay_out("face-forgery", seed, LAYOUT, CATEGORIES)
    n, who = len(rows), subject_codes(rows)
    fake = rows["label"].to_numpy() == 1
    tint = shortcut(rows, variant, named_stream("face-forgery", seed, "tint"), AGREEMENT)

    body = named_stream("face-forgery", seed, "people")
    shot = named_stream("face-forgery", seed, "shots")
    forge = named_stream("face-forgery", seed, "forgeries")
    device = np.array([CAMERAS[source] for source in rows["source"]])
    generator = np.array([GENERATORS[category] for category in rows["category"]])
    parameters = {
        "skin": mix(SKIN, body, n)[who],
        "hair": mix(HAIR, body, n)[who],
        "iris": mix(IRIS, body, n)[who],
        "build": body.uniform(-1.0, 1.0, (n, 12))[who],
        "pose": shot.uniform(-1.0, 1.0, (n, 10)),
        "wall": shot.uniform(0.35, 0.75, (n, 1)) + shot.uniform(-0.08, 0.08, (n, 3)),
        "cloth": shot.uniform(0.1, 0.8, (n, 3)),
        "tint": np.where(tint[:, None] > 0, TEAL, BROWN) * (TINT * (variant != "standin:null")),
        "gain": device[:, :3] * np.exp(0.02 * shot.standard_normal((n, 3))),
        "blur": device[:, 3],
        "noise": device[:, 4],
        "region": generator[:, :3] * np.exp(0.08 * forge.standard_normal((n, 3))),
        "smooth": generator[:, 3] * forge.uniform(0.7, 1.3, n),
        "tone": generator[:, 4:5] * forge.choice([-1.0, 1.0], (n, 1)) * forge.uniform(0.5, 1.5, (n, 3)),
        "seam": generator[:, 5] * forge.choice([-1.0, 1.0], n) * forge.uniform(0.5, 1.5, n),
        "mismatch": generator[:, 6:] * forge.choice([-1.0, 1.0], (n, 4)) * forge.uniform(0.6, 1.4, (n, 4)),
        "fake": fake,
    }
    parameters = {key: value.astype(np.float32) for key, value in parameters.items()}
    images, maps = in_blocks(paint_pictures, parameters, named_stream("face-forgery", seed, "textures"))
    # A tenth of the training fakes and half of the real faces were not annotated.
    drawn = shot.random(n)
    annotated = np.where(fake, (rows["split"] != "train").to_numpy() | (drawn < 0.9), drawn < 0.5)
    return finish(rows, images, maps, annotated)


def mix(palette: Array, rng: np.random.Generator, n: int) -> Array:
    """Return n colours between the neighbours in a palette."""
    at = rng.uniform(0.0, len(palette) - 1.001, n)
    low = at.astype(int)
    return np.asarray(palette[low] + (at - low)[:, None] * (palette[low + 1] - palette[low]))


def rgb(colours: Array) -> Array:
    """Shape (N, 3) colours as (N, 3, 1, 1)."""
    return colours[:, :, None, None]


def paint_pictures(p: dict[str, Array], rng: np.random.Generator) -> tuple[Array, Array]:
    """Paint a block of pictures and their maps."""
    n, pose, build = len(p["fake"]), p["pose"].T, p["build"].T
    head = coordinates(0.05 * pose[0], 0.05 + 0.04 * pose[1], 1.0 + 0.06 * pose[2], 0.07 * pose[3])
    x, y = head
    jaw = (x / (1.0 - 0.16 * np.clip(y, 0.0, 1.0)), y)  # an egg: narrower towards the chin
    wide, tall = 0.50 + 0.03 * build[0], 0.66 + 0.03 * build[1]
    face = ellipse(jaw, 0.0, 0.06, wide, tall, 0.0, 0.05)

    # Behind the head: a wall with some light and clutter, and the tint.
    wall = rgb(p["wall"]) * (1.0 + 0.10 * smooth_noise(rng, n, 3) + per_image(0.1 * pose[4]) * x)[:, None]
    image = wall + rgb(p["tint"])
    image = over(image, p["cloth"], ellipse(coordinates(), 0.05 * pose[0], 1.15, 0.85, 0.42, 0.0, 0.05))
    image = over(image, 0.72 * p["skin"], ellipse(head, 0.0, 0.66, 0.24, 0.38, 0.0, 0.10))
    strands = 1.0 + 0.09 * band_noise(rng, n, 6.0, 20.0)
    hair = rgb(p["hair"]) * strands[:, None]
    long = 0.74 + 0.12 * (build[2] > 0.0)
    image = over(image, hair, ellipse(head, 0.0, -0.02, wide + 0.13, long, 0.0, 0.08) * soft_step(0.45 - y, 0.2))
    for ear in (-1.0, 1.0):
        image = over(image, 0.85 * p["skin"], ellipse(head, ear * wide, 0.08, 0.07, 0.14, 0.0, 0.2))

    # The face: shaded by a lamp, with pores, then the features, then the fringe.
    light = 1.0 + per_image(0.16 * pose[5]) * x - 0.22 * (x * x / 0.25 + (y - 0.06) ** 2 / 0.45) * face
    pores = 1.0 + 0.045 * band_noise(rng, n, 10.0, 26.0)
    skin = rgb(p["skin"]) * (light * pores)[:, None]
    blush = blob((np.abs(x), y), 0.26, 0.24, 0.11, 0.09) * 0.25
    image = over(image, over(skin, skin * BLUSH, blush), face)
    for feature, rows in ((eyes, slice(14, 44)), (nose_and_mouth, slice(26, 60))):  # strips, to save time
        strip = image[:, :, rows], (x[:, rows], y[:, rows]), skin[:, :, rows]
        image[:, :, rows] = feature(*strip, p)
    line = per_image(-0.36 + 0.06 * build[3]) + per_image(0.25 * build[4]) * x + 0.55 * x * x
    image = over(image, hair, soft_step(line - y, 0.05) * ellipse(head, 0.0, -0.02, wide + 0.06, tall + 0.08))

    # The camera, then the forger, who works on the recorded picture and leaves its noise outside.
    image = blur(image, p["blur"])
    image += (per_image(p["noise"]) * white_noise(rng, n))[:, None]
    cy, rx, ry = p["region"].T
    part = ellipse(head, 0.0, cy, rx, ry, 0.0, 0.08) * face * per_image(p["fake"])  # never the wall
    edge = ring(head, 0.0, cy, rx, ry, 0.03, 0.06) * per_image(p["seam"])
    image = over(image, blur(image, p["smooth"]) * (1.0 + rgb(p["tone"])), part)
    image = image * (1.0 + edge[:, None]) * rgb(p["gain"])
    image += 0.008 * white_noise(rng, n)[:, None]  # storage: a little noise everywhere

    looked_at = np.maximum(ellipse(head, 0.0, -0.06, 0.40, 0.14), ellipse(head, 0.0, 0.42, 0.24, 0.13)) * per_image(
        1.0 - p["fake"]
    )
    return np.moveaxis(image, 1, -1), np.maximum(part, looked_at)


def eyes(image: Array, head: Coordinates, skin: Array, p: dict[str, Array]) -> Array:
    """Paint eyes and brows; a generator's mismatch changes the eye on the right alone."""
    x, y = head
    pose, build = p["pose"].T, p["build"].T
    for eye in (-1.0, 1.0):
        odd = p["mismatch"].T * (eye > 0)
        cx, cy = 0.03 * pose[6] + eye * (0.21 + 0.015 * build[5]), -0.06 + 0.015 * build[6] + 0.035 * odd[0]
        rx, ry = 0.115 + 0.01 * build[7], (0.060 + 0.008 * build[8]) * (1.0 + 0.25 * odd[1])
        image = over(image, 0.72 * skin, 0.45 * blob(head, cx, cy, 0.13, 0.09))
        white = ellipse(head, cx, cy, rx, ry, 0.0, 0.2)
        image = over(image, 0.90, white)
        gaze, radius = cx + 0.025 * pose[7] + 0.030 * odd[2], 0.052 * (1.0 + 0.25 * odd[3])
        image = over(image, p["iris"], white * ellipse(head, gaze, cy, radius, radius, 0.0, 0.2))
        image = over(image, 0.04, white * ellipse(head, gaze, cy, 0.024, 0.024, 0.0, 0.4))
        image = over(image, 1.0, 0.8 * white * blob(head, gaze + 0.015, cy - 0.02, 0.012, 0.012))
        lid = ring(head, cx, cy, rx, ry, 0.18, 0.2) * soft_step(per_image(cy) - y, 0.03)
        image = over(image, 0.15, 0.8 * lid)
        across = x - per_image(cx)
        arch = np.abs(y - per_image(cy - 0.14 - 0.01 * build[9]) - 0.9 * across**2)
        brow = soft_step(per_image(0.024 + 0.008 * build[10]) - arch, 0.02) * soft_step(0.14 - np.abs(across), 0.03)
        image = over(image, 0.8 * p["hair"], 0.85 * brow)
    return image


def nose_and_mouth(image: Array, head: Coordinates, skin: Array, p: dict[str, Array]) -> Array:
    """Paint the nose, lit from the left, and the mouth, which may smile or open."""
    x, y = head
    pose, build = p["pose"].T, p["build"].T
    cx = 0.03 * pose[6]
    shade = blob(head, cx + 0.05, 0.12, 0.025, 0.11) + blob(head, cx, 0.235, 0.075, 0.025)
    image = over(image, 0.66 * skin, np.clip(0.55 * shade, 0.0, 1.0))
    image = over(image, 1.12 * skin, 0.6 * blob(head, cx - 0.01, 0.12, 0.02, 0.10))
    nostrils = blob((np.abs(x - per_image(cx)), y), 0.045, 0.235, 0.018, 0.012)
    image = over(image, 0.3 * skin, 0.8 * nostrils)
    mouth = (x, y - 0.43 + per_image(0.6 * pose[8]) * (x - per_image(cx)) ** 2)
    width, gap = 0.17 + 0.02 * build[11], 0.010 + 0.020 * np.clip(pose[9], 0.0, 1.0)
    image = over(image, skin * LIPS, 0.9 * ellipse(mouth, cx, 0.0, width, 0.055, 0.0, 0.25))
    return over(image, 0.16, 0.85 * ellipse(mouth, cx, 0.0, 0.9 * width, gap, 0.0, 0.4))
