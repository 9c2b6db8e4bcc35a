"""Face forgery: is a portrait real or made by a generator? People mark what gave a face away to them.

The built-in data are drawn by :mod:`divsal_bench.tasks.standins.face_forgery`.
"""

from divsal_bench.contracts.task import Task
from divsal_bench.tasks.standins import face_forgery

TASK = Task(
    name="face-forgery",
    version=1,
    title="Face forgery",
    description="Is the face in a portrait real, or made or altered by a generator?",
    class_names=("real", "fake"),
    channels=3,
    category_meaning="generator",
    field_metrics=("eer", "ap"),
    draw_standin=face_forgery.draw,
    standin_version=1,
    standin_pixels={
        "standin": "d7df05afd830d957ec05596fdce2f2f328e90d39880c17e00843757089701cb9",
        "standin:oracle": "08d3aab2f3f254da8425955df551784440588f825309903d043387344d6b83f4",
        "standin:null": "cd8171ca44c8446a43401c652c3011be363d2c6accccd1b7b8f5fe3c211e90cd",
    },
    citation=(
        "Human saliency for synthetic faces: CYBORG, Boyd et al., WACV 2023, arXiv 2112.00686. "
        "True- and false-class CAMs: Divisive Decisions, Piland, Sweet, Czajka 2025, arXiv 2507.17000."
    ),
    licence="The stand-in is drawn by code, Apache-2.0; real data stay under their owners' terms.",
)
