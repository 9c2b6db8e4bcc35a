"""Web pages of one file: templates that escape whatever they are given, and nothing allowed but what stands in them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def escaping_templates(folder: Path) -> Environment:
    """Templates that escape everything they are given and stop at a name they do not know."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def content_policy(styles: Sequence[str], scripts: Sequence[str] = ()) -> str:
    """A content security policy: these styles and scripts and pictures inside the page, and nothing else."""
    parts = ["default-src 'none'", "img-src data:", f"style-src {' '.join(map(inline_hash, styles))}"]
    parts += [f"script-src {' '.join(map(inline_hash, scripts))}"] if scripts else []
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def inline_hash(text: str) -> str:
    """The source expression for an inline element with exactly this content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
