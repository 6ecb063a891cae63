"""player_node: what it tells while it plays."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from demo_control.nodes.player_node import PlayerNode

pytestmark = pytest.mark.ros


def test_the_played_time_goes_on_where_nothing_was_recorded() -> None:
    """Else whoever launched it takes a gap of a quarter of a minute for the end of all progress."""
    told: list[float] = []
    timed = [SimpleNamespace(time_ns=1_000_000_000), SimpleNamespace(time_ns=1_400_000_000)]
    player: Any = SimpleNamespace(
        _settings=SimpleNamespace(value=SimpleNamespace(rate=1.0)),
        _player=SimpleNamespace(survey=SimpleNamespace(start_ns=1_000_000_000), timed=lambda: iter(timed)),
        _stop=threading.Event(), _latest_s=0.0, _ticked_s=0.0, _played_s=0.0, _publish=lambda _timed: None,
    )  # fmt: skip
    player._tick = lambda _time_ns: told.append(player._played_s)
    assert PlayerNode._play(player)
    assert any(0.1 < played_s < 0.3 for played_s in told)
    assert told == sorted(told)
    assert player._played_s == 0.4
