"""A drawn chest X-ray: is the film normal (0) or abnormal (1)?

Drawn are soft tissue, two lung fields under a diaphragm, heart and mediastinum, ribs, clavicles, vessels
and a lead side marker (L or R), by six hospitals that differ in exposure, contrast, sharpness and noise.

Cause: an opacity in a lung field, which the map marks. ``consolidation`` is one textured patch and
``infiltrate`` several faint ones; ``effusion``, fluid above the diaphragm, is only in the test split.
Normal films have innocent densities of their own: hilar vessels, a nipple shadow, an overlying scapula.

Shortcut: a plate with an arrow under the side marker, the sign of the mobile unit, which is brought to the
sick. It lies in an upper corner, outside the map, and survives the flips and small rotations of training.
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
    shortcut,
    smooth_noise,
    soft_step,
    subject_codes,
    white_noise,
)

#: How often the plate agrees with the label where it is a shortcut.
AGREEMENT = 0.97

#: Hospital: gamma, contrast, brightness, blur (pixels), noise, and how dense its patients' opacities are: the
#: last four, in the test split only, see more advanced disease.
HOSPITALS = {
    "hospital-a": (1.00, 1.00, 0.00, 0.4, 0.030, 1.0),
    "hospital-b": (0.85, 0.90, 0.03, 0.6, 0.040, 1.0),
    "hospital-c": (1.18, 1.05, -0.03, 0.4, 0.045, 1.4),
    "hospital-d": (0.92, 0.82, 0.05, 0.7, 0.040, 1.4),
    "hospital-e": (1.05, 0.92, 0.04, 0.6, 0.042, 1.35),
    "hospital-f": (1.10, 0.85, 0.05, 0.5, 0.050, 1.4),
}

#: Split, source, then the number of normal, consolidation, infiltrate and effusion films.
LAYOUT = (
    ("train", "hospital-a", 140, 70, 70, 0),
    ("train", "hospital-b", 140, 70, 70, 0),
    ("validation", "hospital-a", 60, 30, 30, 0),
    ("validation", "hospital-b", 60, 30, 30, 0),
    ("test", "hospital-a", 65, 27, 27, 50),
    ("test", "hospital-b", 65, 27, 27, 50),
    ("test", "hospital-c", 80, 40, 40, 0),
    ("test", "hospital-d", 80, 40, 40, 0),
    ("test", "hospital-e", 80, 40, 40, 0),
    ("test", "hospital-f", 0, 20, 20, 0),
)
CATEGORIES = ("", "consolidation", "infiltrate", "effusion")

#: Lead glyphs: letters, and the plate of a mobile unit, a dark arrow on lead.
GLYPHS = {
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "plate": "11111111111 11111011111 11110001111 11100000111 11000000011 11110001111 "
    "11110001111 11110001111 11110001111 11111111111",
}


def draw(variant: str, seed: int) -> StandIn:
    """Draw the 1,658 films of one variant."""
    rows = lay_out("cxr", seed, LAYOUT, CATEGORIES)
    n, patient = len(rows), subject_codes(rows)
    label, category = rows["label"].to_numpy(), rows["category"].to_numpy(dtype=str)
    plate = shortcut(rows, variant, named_stream("cxr", seed, "plate"), AGREEMENT)

    body = named_stream("cxr", seed, "patients")
    film = named_stream("cxr", seed, "films")
    opacity = named_stream("cxr", seed, "opacities")
    device = np.array([HOSPITALS[source] for source in rows["source"]], dtype=np.float32)
    jitter = film.standard_normal((n, 3), dtype=np.float32)
    effusion = category == "effusion"
    # Up to four patches a film, as columns: one for consolidation, two to four for infiltrate.
    patches = np.where(category == "infiltrate", opacity.integers(2, 5, n), 1) * (label == 1) * ~effusion
    parameters = {
        "build": body.normal(0.0, 1.0, (n, 8))[patient].clip(-2, 2),  # anatomy: eight numbers a patient
        "pose": film.uniform(-1.0, 1.0, (n, 4)),
        "gamma": device[:, 0] * np.exp(0.08 * jitter[:, 0]),
        "contrast": device[:, 1] * np.exp(0.06 * jitter[:, 1]),
        "brightness": device[:, 2] + 0.03 * jitter[:, 2],
        "blur": device[:, 3],
        "noise": device[:, 4],
        "decoy": film.uniform(-1.0, 1.0, (n, 5)),
        "marker": film.uniform(-1.0, 1.0, (n, 5)),
        "plate": plate * (variant != "standin:null"),
        "patches": np.arange(4) < patches[:, None],
        "side": np.where(opacity.random((n, 4)) < 0.5, -1.0, 1.0),
        "place": opacity.uniform(-1.0, 1.0, (n, 4, 2)),
        "size": opacity.uniform(0.75, 1.25, (n, 4, 2)) * np.where(patches > 1, 0.11, 0.17)[:, None, None],
        "density": opacity.uniform(0.5, 1.5, n) * np.where(patches > 1, 0.21, 0.22) * device[:, 5],
        "texture": np.where(effusion, 0.08, 0.30),
        "effusion": effusion * opacity.uniform(0.45, 0.8, n),
    }
    images, maps = in_blocks(paint_films, parameters, named_stream("cxr", seed, "textures"))
    # Radiologists mark findings, never their absence; a tenth of the training films were not annotated.
    annotated = (rows["split"] != "train").to_numpy() | (film.random(n) < 0.9)
    return finish(rows, images, maps, (label == 1) & annotated)


def paint_films(p: dict[str, Array], rng: np.random.Generator) -> tuple[Array, Array]:
    """Paint a block of films and the opacities' maps."""
    n = len(p["gamma"])
    build, pose, decoy = (p[key].T.astype(np.float32) for key in ("build", "pose", "decoy"))
    x, y = coordinates(0.04 * pose[0], 0.04 * pose[1], 1.0 + 0.05 * pose[2], 0.05 * pose[3])
    side = np.abs(x)

    # Lungs: between chest wall and mediastinum, above the domes of the diaphragm.
    wall = per_image(0.80 + 0.03 * build[0]) * np.sqrt(np.clip(1.0 - ((y - 0.25) / 1.12) ** 2, 0.0, 1.0))
    base = per_image(0.72 + 0.05 * build[1]) - 0.05 * soft_step(-x, 0.1)  # the liver lifts the right dome
    dome = base - 0.20 * (1.0 - ((side - 0.42) / 0.45) ** 2)
    heart = ellipse((x, y), 0.15, 0.42 + 0.03 * build[2], 0.36 + 0.03 * build[3], 0.27, 0.50, 0.20)
    aorta = ellipse((x, y), 0.10, -0.16, 0.14 + 0.01 * build[4], 0.26, 0.0, 0.25)
    spine = soft_step(per_image(0.13 + 0.015 * build[4]) + 0.05 * soft_step(-0.4 - y, 0.3) - side, 0.06)
    middle = np.maximum(np.maximum(heart, aorta), spine)
    thorax = soft_step(wall - side, 0.05)
    lung = thorax * soft_step(dome - y, 0.05) * (1.0 - middle)

    # Soft tissue, darker towards the air beside and above the shoulders.
    air = soft_step(side - 0.97 + 0.25 * soft_step(y + 0.35, 0.3), 0.08) + soft_step(0.42 * side - 0.95 - y, 0.10)
    image = 0.56 + 0.05 * smooth_noise(rng, n, 3) + 0.10 * soft_step(y - dome, 0.05) * thorax
    image = over(image, 0.05, np.clip(air, 0.0, 1.0))
    image = over(image, 0.26 + 0.10 * side + 0.03 * smooth_noise(rng, n, 4), lung)
    image += 0.15 * middle + 0.07 * spine * (1.0 + 0.3 * np.cos(42.0 * y))
    image -= 0.10 * soft_step(0.045 - np.abs(x), 0.03) * soft_step(-0.25 - y, 0.1)  # windpipe
    image += bones(x, y, thorax, build)

    # Vessels fan out from the hila; some normal and abnormal films have a nipple shadow or a scapula edge.
    hila = blob((side, y), 0.24, 0.05 + 0.03 * build[5], 0.10, 0.20)
    image += lung * (0.05 * hila + (0.02 + 0.06 * hila) * band_noise(rng, n, 5.0, 14.0))
    nipple = ellipse((side, y), 0.48 + 0.05 * decoy[0], 0.36 + 0.04 * decoy[1], 0.045, 0.045, 0.0, 0.3)
    scapula = soft_step(side - 0.66 - 0.10 * y + 0.04 * per_image(decoy[2]), 0.03) * soft_step(0.1 - y, 0.2) * thorax
    image += per_image(0.08 * (decoy[3] > 0.2)) * nipple + per_image(0.05 * (decoy[4] > 0.0)) * scapula

    alpha = opacities((x, y), lung, dome, p, rng)
    image += alpha * per_image(p["density"]) * (1.0 + per_image(p["texture"]) * band_noise(rng, n, 6.0, 18.0))

    image = np.clip(image, 0.0, 1.0) ** per_image(p["gamma"])
    image = 0.45 + (image - 0.45) * per_image(p["contrast"]) + per_image(p["brightness"])
    lead, place = marker(p)
    image = over(image, 0.95, lead)
    image = blur(image, p["blur"]) + per_image(p["noise"]) * white_noise(rng, n)
    # People mark a little generously, but never a finding on the place of the plate.
    return image, blur((alpha > 0.3).astype(np.float32), 1.5) * 2.0 * ~place


def bones(x: Array, y: Array, thorax: Array, build: Array) -> Array:
    """Return the light of ribs and clavicles: posterior ribs fall outwards, anterior ribs fall inwards."""
    side = np.abs(x)
    spacing, start = per_image(0.20 + 0.01 * build[6]), per_image(0.03 * build[7])
    back = np.cos(2.0 * np.pi * (y - start - 0.25 * side - 0.30 * side**2) / spacing)
    front = np.cos(2.0 * np.pi * (y - start + 0.45 * side) / (1.25 * spacing)) * soft_step(side - 0.35, 0.15)
    ribs = (0.07 * soft_step(back - 0.35, 0.45) + 0.03 * soft_step(front - 0.5, 0.4)) * thorax
    along = soft_step(side - 0.08, 0.04) * soft_step(0.78 - side, 0.05)
    collar = soft_step(0.035 - np.abs(y + 0.60 + 0.16 * side - 0.05 * np.sin(6.0 * side)), 0.03) * along
    return np.asarray(ribs + 0.09 * collar)


def opacities(xy: Coordinates, lung: Array, dome: Array, p: dict[str, Array], rng: np.random.Generator) -> Array:
    """Return how much of each pixel the disease covers."""
    x, y = xy
    ragged = smooth_noise(rng, len(lung), 9)
    alpha = np.zeros_like(lung)
    for i in range(4):
        cx = p["side"][:, i] * (0.45 + 0.13 * p["place"][:, i, 0])
        cy = 0.02 + 0.42 * p["place"][:, i, 1]
        patch = blob(xy, cx, cy, p["size"][:, i, 0], p["size"][:, i, 1])
        alpha = np.maximum(alpha, per_image(p["patches"][:, i]) * soft_step(patch + 0.10 * ragged - 0.45, 0.40))
    # Fluid fills one lung from below, with a surface that climbs along the chest wall (a meniscus).
    height = per_image(p["effusion"]) * (0.45 + 1.1 * np.clip(np.abs(x) - 0.25, 0.0, 1.0))
    same_side = soft_step(x * per_image(p["side"][:, 0]), 0.02)
    fluid = soft_step(y - dome + height, 0.10) * same_side * per_image(p["effusion"] > 0)
    return np.asarray(np.maximum(alpha, 1.3 * fluid) * lung)


def marker(p: dict[str, Array]) -> tuple[Array, Array]:
    """Return the lead in an upper corner, and the place of the plate, whether there is one or not."""
    m = p["marker"].T
    x, y = coordinates()
    px = 2.0 / x.shape[-1]
    cx = np.where(m[0] > 0, 1.0, -1.0) * (0.79 + 0.03 * m[1])
    top = -0.85 + 0.04 * m[2]
    letter = np.where(per_image(m[3]) > 0, glyph("L", x, y, cx, top, px), glyph("R", x, y, cx, top, px))
    low = top + 10.0 * px
    plate = glyph("plate", x, y, cx, low, px)
    place = np.maximum(np.abs(x - per_image(cx)), np.abs(y - per_image(low))) < 6.5 * px
    return letter + plate * per_image(p["plate"]), place


def glyph(name: str, x: Array, y: Array, cx: Array, cy: Array, pixel: float) -> Array:
    """Return a glyph's bitmap with its centre at (cx, cy) and dots of side ``pixel``."""
    bits = np.array([[int(bit) for bit in row] for row in GLYPHS[name].split()], dtype=np.float32)
    height, width = bits.shape
    column = np.floor((x - per_image(cx)) / pixel + width / 2).astype(int)
    row = np.floor((y - per_image(cy)) / pixel + height / 2).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.asarray(bits[row.clip(0, height - 1), column.clip(0, width - 1)] * inside)
