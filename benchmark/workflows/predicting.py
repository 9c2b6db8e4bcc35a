"""Predict: scores and decisions for image files, and maps of where they come from."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from divsal_bench.errors import UserError
from divsal_bench.networks import devices
from divsal_bench.workflows.selection import image_paths, require_number
from divsal_bench.workflows.telling import OnCount, Say, silent, unheard
from divsal_bench.workflows.tidying import sweep_unfinished

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.prediction.finding import Model
    from divsal_bench.prediction.prediction import Prediction
    from divsal_bench.prediction.pretrained import Pretrained

#: Pictures that may wait to be drawn.
DRAWN = 16


class FailedImage(NamedTuple):
    """An image without a score, and why."""

    image: str
    error: str


@dataclass(frozen=True, eq=False)
class Predictions:
    """Scored images, and what there is to say about them.

    Attributes:
        rows: What :meth:`frame` returns.
        network: What scored them, with its origin, classes and threshold.
        notices: How files of 16 bits were read, where that may not fit them.
        left_out: In words, how many files of the folders are no images; "" where all are.
    """

    rows: pd.DataFrame = field(repr=False)
    network: Pretrained
    notices: tuple[str, ...]
    left_out: str

    def frame(self) -> pd.DataFrame:
        """One row an image, in order.

        ``image``; ``score``, the logit margin z1 − z0, NaN where there is an error; ``probability`` of class 1;
        ``decision``, a class name; ``error``, "" or why there is no score.
        """
        return self.rows

    @property
    def counts(self) -> dict[str, int]:
        """How many images are called each class, class 0 first."""
        return {name: int((self.rows["decision"] == name).sum()) for name in self.network.class_names}

    @property
    def failed(self) -> tuple[FailedImage, ...]:
        """The images without a score."""
        wrong = self.rows[self.rows["error"] != ""]
        return tuple(map(FailedImage, wrong["image"], wrong["error"]))

    @property
    def threshold(self) -> str:
        """From where on an image is called class 1, and what set that, in words."""
        from divsal_bench.prediction.prediction import probability_of

        positive, limit = self.network.class_names[1], self.network.threshold
        if limit is None:
            where = f"no threshold keeps its rule, so nothing is called {positive}"
        else:
            where = f"{positive} from a score of {limit:+.4f} on, a probability of {probability_of(limit):.3f}"
        return f"{where} ({self.network.threshold_rule or 'its rule is not stated'})"


def predict(
    model: Model,
    images: str | Path | Iterable[str | Path],
    *,
    csv: str | Path | None = None,
    overlay: str | Path | None = None,
    force: bool = False,
    device: str = "auto",
    window: str | None = None,
    batch_size: int = 32,
    say: Say = silent,
    on_image: OnCount = unheard,
) -> Predictions:
    """Score image files with a trained network; the function behind ``divsal-bench predict``.

    Args:
        model: A run directory, an output folder with one run, a folder in timm's layout, a model on the Hugging Face
            Hub as ``org/name[@revision]``, a :class:`Run`, or a :class:`Pretrained`.
        images: Image files, folders, or CSV files that list images; one or several. An image that cannot be read gives
            a row with its error.
        csv: Also write the table there.
        overlay: Also write a PNG for each image to this folder: the image, and its difference map.
        force: Replace files that are there.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        window: The values of 16-bit files that are black and white, ``12bit`` or ``LO:HI``; None takes the network's.
        batch_size: Images at a time; changes the last digits of a score at most.
        say: Told what must be heard at once: notices about the model, and of files that a killed command left.
        on_image: Told how many images are scored, and of how many.

    Returns:
        The table, and what there is to say about it.

    Raises:
        UserError: The model or the images are not there, a file would be lost, or an option is none.

    Example:
        >>> from pathlib import Path
        >>> import divsal_bench
        >>> from PIL import Image
        >>> Image.new("L", (64, 64), 128).save("grey.png")
        >>> found = divsal_bench.predict(next(Path("runs/cxr/cyborg").iterdir()), "grey.png", device="cpu")
        >>> list(found.frame().columns)
        ['image', 'score', 'probability', 'decision', 'error']
        >>> sum(found.counts.values()), len(found.failed)
        (1, 0)
    """
    devices.prepare_environment()
    # Decoding shares the processors: torch's threads must sleep while they wait, not spin (8 times slower when busy).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    require_number("batch_size", batch_size)
    if batch_size < 1:
        raise UserError(f"--batch-size {batch_size} is no number of images; give 1 or more")
    devices.require_known(device)
    from divsal_bench.prediction import finding, inputs, outputs, prediction
    from divsal_bench.prediction.decoding import depth_notices

    paths = image_paths(images)
    table_at, pictures_in = (None if place is None else Path(place) for place in (csv, overlay))
    asked = inputs.collect_images(paths)
    outputs.require_csv(table_at, asked, force)
    pictures = outputs.overlay_paths(pictures_in, asked, force)
    chosen = devices.choose_device(device)
    network = finding.open_model(model, window, say)
    if pictures:
        network.require_maps()
    network.model.net.to(chosen)
    finding.use_threads(network)
    if pictures_in is not None:
        pictures_in.mkdir(parents=True, exist_ok=True)
        sweep_unfinished([pictures_in], say)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # damage that matters becomes an error row
        scored = prediction.score_stream(network, asked, batch_size, with_maps=bool(pictures))
        deep: list[int] = []
        drawn = with_overlays(scored, pictures, network) if pictures else scored
        table = prediction.predictions_table(noted(drawn, len(asked), deep, on_image))
    if table_at is not None:
        sweep_unfinished([table_at.parent], say)
        outputs.write_table(table, table_at)
    return Predictions(table, network, tuple(depth_notices(deep, network.window)), inputs.left_out(paths))


def with_overlays(scored: Iterator[Prediction], pictures: Sequence[Path], network: Pretrained) -> Iterator[Prediction]:
    """Draw predictions as they come, in threads beside the network; few maps are in memory at a time.

    Args:
        scored: With maps.
        pictures: Where each is drawn.
        network: What scored them.
    """
    from divsal_bench.prediction.overlay import overlay_picture, save_overlay
    from divsal_bench.processes.threads import ahead

    def draw(one: tuple[Prediction, Path]) -> Prediction:
        if one[0].difference is not None:
            save_overlay(overlay_picture(one[0], network.class_names, network.threshold), one[1])
        return one[0]

    return ahead(draw, zip(scored, pictures, strict=True), DRAWN)


def noted(scored: Iterator[Prediction], total: int, deep: list[int], on_image: OnCount) -> Iterator[Prediction]:
    """Tell how far it is, and note the largest value of every file of 16 bits."""
    for done, one in enumerate(scored, start=1):
        if one.highest:
            deep.append(one.highest)
        yield one
        on_image(done, total)
