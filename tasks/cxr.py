"""Chest X-ray: is a frontal film normal or abnormal? Radiologists mark the findings of abnormal films alone.

The built-in data are drawn by :mod:`divsal_bench.tasks.standins.cxr`.
"""

from divsal_bench.contracts.task import Task
from divsal_bench.tasks.standins import cxr

TASK = Task(
    name="cxr",
    version=1,
    title="Chest X-ray",
    description="Is a frontal chest X-ray normal, or does it show a finding?",
    class_names=("normal", "abnormal"),
    channels=1,
    category_meaning="finding",
    field_metrics=("sensitivity@specificity=95%", "ece"),
    draw_standin=cxr.draw,
    standin_version=1,
    standin_pixels={
        "standin": "01882c521467d2107471de8e55af79e201fe53b5f2b988301b82ba64035b242d",
        "standin:oracle": "9692d8d56b0927f519d7b9f4df498aafd9ebcfa0d2fc15d72d6941201e6cf86f",
        "standin:null": "2996b60f6f3fa81a45b56f8174279cabc075dab8d723123750430bfed55d90d6",
    },
    citation=(
        "Human saliency for chest X-rays: MENTOR, Crum, Czajka, WACV 2025, arXiv 2310.19545. "
        "True- and false-class CAMs: Divisive Decisions, Piland, Sweet, Czajka 2025, arXiv 2507.17000."
    ),
    licence="The stand-in is drawn by code, Apache-2.0; real data stay under their owners' terms.",
)
