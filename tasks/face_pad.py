"""Face presentation attack detection: live or attack, in colour images of one face.

The shortcut of this task's stand-in lies inside the human map, where guidance by maps cannot help: read its
boards as a control. The other stand-ins plant theirs outside the map.
"""

from divsal_bench.contracts.task import Task
from divsal_bench.tasks.standins import face_pad

TASK = Task(
    name="face-pad",
    version=1,
    title="Face presentation attack detection",
    description="Is the face in a colour image live, or a presentation attack on the camera?",
    class_names=("bona fide", "attack"),
    channels=3,
    category_meaning="attack species",
    field_metrics=("apcer@bpcer=1%", "bpcer@bpcer=1%", "d-eer"),  # the terms of ISO/IEC 30107-3
    draw_standin=face_pad.draw,
    standin_version=1,
    standin_pixels={
        "standin": "570c576da9f24aada3c43b88b50bf7c0b16cd7e029a3c48dc364f55b2ee94447",
        "standin:oracle": "fa36350aac101fe8db031316d51e0b72ad6454fce8ef330965841edc917a6aa7",
        "standin:null": "be7d47d3f6a0ccf59b29e88f7da4fbeb3bdf81cb5ef229c8502bb1da8cdf99e0",
    },
    citation=(
        "True- and false-class CAMs: Divisive Decisions, Piland, Sweet, Czajka 2025, arXiv 2507.17000. "
        "Metrics: ISO/IEC 30107-3."
    ),
    licence="The stand-in is drawn by code, Apache-2.0; real data are under their owners' terms.",
)
