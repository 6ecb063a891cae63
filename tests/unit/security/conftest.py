"""A keystore that is made once, and copied for whoever breaks it."""

from __future__ import annotations

import importlib.util
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

collect_ignore_glob: list[str] = []

if importlib.util.find_spec("cryptography") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from demo_control.security.keystore import Keystore
    from demo_control.security.roles import roles_of

NOW = datetime(2030, 6, 1, 12, 0, 0, tzinfo=timezone.utc)
YEAR = timedelta(days=365)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Keystore:
    """Of all roles; to be looked at."""
    return Keystore.create(tmp_path_factory.mktemp("made") / "keystore", roles_of(), NOW, YEAR)


@pytest.fixture
def keystore(made: Keystore, tmp_path: Path) -> Keystore:
    """The same, to be changed."""
    shutil.copytree(made.folder, tmp_path / "keystore")
    return Keystore(tmp_path / "keystore")
