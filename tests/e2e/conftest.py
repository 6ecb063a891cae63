"""What all tests of whole commands share."""

from __future__ import annotations

import random

import pytest


@pytest.fixture(autouse=True)
def domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ROS domain that no one else is likely to use, on this machine only: a robot may be walking here."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 101)))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
