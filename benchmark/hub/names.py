"""Names on the Hub: one repository for each task, data set, method, backbone and protocol; one branch a seed."""

from __future__ import annotations

import hashlib
import json
import re

from divsal_bench.contracts.task import VARIANTS
from divsal_bench.errors import UserError
from divsal_bench.hub.discretion import discreet_reason
from divsal_bench.runs.records import Record

#: Digits that keep apart what the readable part of a name does not say: versions, fields, head, weights, data.
DIGITS = 8
#: Longest name on the Hub.
LONGEST = 96


def repository(namespace: str, record: Record) -> str:
    """The repository of a run: the same for all its seeds, and for nothing else; UserError if no such name may be."""
    return hub_name(namespace, repository_name(record))


def hub_name(namespace: str, name: str) -> str:
    """``namespace/name``; a UserError where the Hub does not allow it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    for option, word in (("--to", namespace), ("--name", name)):
        try:
            if "/" in word or not word:
                raise HFValidationError("it must be one word")
            validate_repo_id(word)
        except HFValidationError as error:
            raise UserError(f"{option} {word[:100]!r} is no name on the Hub ({discreet_reason(error)})") from error
    return f"{namespace}/{name}"


def repository_name(record: Record) -> str:
    """The repository's name without its namespace."""
    spec = record.spec
    content = spec.model_dump(mode="json", exclude={"data", "seed"})
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGITS]
    data = data_name(record)
    readable = slug("-".join((spec.task, data, record.method_label, spec.backbone, spec.protocol)))
    return f"{readable[: LONGEST - DIGITS - 1].rstrip('-.')}-{digest}"


def data_name(record: Record) -> str:
    """What the data is called in public: never by a folder's name, which may be anything on somebody's machine."""
    data = record.spec.data
    drawn = data in VARIANTS and record.data.kind == "standin"  # a folder may be called so, too
    return data.partition("@")[0] if drawn or "/" in data else record.spec.data_fingerprint[:DIGITS]


def slug(text: str) -> str:
    """Letters, digits, ``.``, ``_`` and single ``-`` alone, as the Hub's names are."""
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", text)
    return re.sub(r"[-.]*-[-.]*|\.{2,}", "-", plain).strip("-.")


def branch(seed: int) -> str:
    """The branch of one seed; ``main`` is a copy of seed 0's, never of the best."""
    return f"seed-{seed}"
