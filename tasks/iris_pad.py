"""Iris presentation attack detection: bona fide or attack, in near-infrared images of one eye."""

from divsal_bench.contracts.task import Task
from divsal_bench.tasks.standins import iris_pad

TASK = Task(
    name="iris-pad",
    version=1,
    title="Iris presentation attack detection",
    description="Is the iris in a near-infrared image bona fide, or a presentation attack on the sensor?",
    class_names=("bona fide", "attack"),
    channels=1,
    category_meaning="attack species",
    field_metrics=("apcer@bpcer=1%", "bpcer@bpcer=1%", "d-eer"),  # the terms of ISO/IEC 30107-3
    draw_standin=iris_pad.draw,
    standin_version=1,
    standin_pixels={
        "standin": "7a37bea5bc0c2623eb3158274b2e7f0653ff9c078b8b8f92da725e20b9d29d9f",
        "standin:oracle": "e88c378a16cd207c66e38a0bf6ab75c29e50b978537751777213a047ea3cde06",
        "standin:null": "1c486c0166ef8706be8a835f8d204306dc93e274de1ffdb54a5659bbab478f1b",
    },
    citation=(
        "Human saliency for iris presentation attack detection: Boyd et al. 2021, arXiv 2105.03492. "
        "True- and false-class CAMs: Divisive Decisions, Piland, Sweet, Czajka 2025, arXiv 2507.17000. "
        "Metrics: ISO/IEC 30107-3."
    ),
    licence="The stand-in is drawn by code, Apache-2.0; real data are under their owners' terms.",
)
