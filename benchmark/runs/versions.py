"""The versions of what a result depends on."""

from __future__ import annotations

import importlib.metadata
import platform

#: Whose versions a result depends on.
PACKAGES = ("divsal-bench", "torch", "timm", "numpy", "scipy", "scikit-learn", "pandas", "datasets", "pillow")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
