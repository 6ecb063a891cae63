"""What a recording says of the software and the machine that made it."""

from __future__ import annotations

import hashlib
import json
import platform
from datetime import datetime, timezone
from pathlib import Path

from demo_control.learning.provenance import git_revision, versions
from demo_control.machine import processor_name, usable_cores

_FORMAT = "1"


def about_here(bringup: str, arguments: str) -> dict[str, str]:
    """Texts by name.

    Args:
        bringup: Name of what is recorded, '' if it was started otherwise.
        arguments: Its arguments (among them the seed), JSON.
    """
    return {
        "format": _FORMAT,
        "began": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "bringup": bringup,
        "arguments": arguments,
        "git_revision": git_revision(),
        "versions": json.dumps(versions()),
        "processor": processor_name(),
        "cores": str(usable_cores()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def contract_hash(bundle_directory: str) -> str:
    """SHA-256 of a bundle's contract, which holds the hashes of its files; '' where there is none."""
    if not bundle_directory:
        return ""
    try:
        return hashlib.sha256((Path(bundle_directory) / "contract.json").read_bytes()).hexdigest()
    except OSError:
        return ""
