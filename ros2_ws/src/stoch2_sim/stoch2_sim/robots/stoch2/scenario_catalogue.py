"""Stoch2's scenarios by name."""

from __future__ import annotations

from collections.abc import Mapping

from demo_control.scenarios import ScenarioFactory
from stoch2_sim.robots.stoch2.scenario_settings import with_ideal_sensing
from stoch2_sim.robots.stoch2.scenarios import (
    PushScenario,
    RobustScenario,
    SlopeScenario,
    TrackScenario,
    WalkScenario,
)
from stoch2_sim.robots.stoch2.show import ShowWalk

Kind = type[WalkScenario | TrackScenario | PushScenario | SlopeScenario | RobustScenario | ShowWalk]


def _factory(kind: Kind) -> ScenarioFactory:
    """A scenario by its class, with settings in which ideal sensing is entirely so."""
    return lambda values, steps: kind(with_ideal_sensing(values), steps)


SCENARIOS: Mapping[str, ScenarioFactory] = {
    "walk": _factory(WalkScenario),
    "track": _factory(TrackScenario),
    "push": _factory(PushScenario),
    "slope": _factory(SlopeScenario),
    "robust": _factory(RobustScenario),
    "show": _factory(ShowWalk),
}
"""The first is the default."""
