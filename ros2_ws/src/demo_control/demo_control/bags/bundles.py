"""Finds the bundles that a recording names by their hash."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from demo_control.bags.errors import BagError
from demo_control.bundle import Bundle, BundleError, load_bundle
from demo_control.tasks import Task


def find_bundle(sha256: str, places: Iterable[Path], task: Task) -> tuple[Path, Bundle]:
    """The first of some directories that holds a bundle, and the bundle.

    Args:
        sha256: Of the bundle's contract.
        places: Directories, whatever is in them.
        task: What the bundle is for.

    Raises:
        BagError: None of them holds it.
    """
    for place in places:
        try:
            bundle = load_bundle(place, task)
        except BundleError:
            continue
        if bundle.sha256 == sha256:
            return place, bundle
    raise BagError(f"bundle {sha256[:12]}… that was recorded is not here; --bundle names the directory of one")
