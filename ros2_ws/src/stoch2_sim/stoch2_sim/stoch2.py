"""The task Stoch2: walk upright over any ground, at the speed and turn rate that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from demo_control.tasks import RecordedRun, Task
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.observation import ACTION, OBSERVATION
from stoch2_sim.robots.stoch2.planned_path import planned_path
from stoch2_sim.robots.stoch2.planning import COST_TERMS, PLANNER, PLANNING
from stoch2_sim.robots.stoch2.plants import make_plants
from stoch2_sim.robots.stoch2.reward import observation_reward
from stoch2_sim.robots.stoch2.scenario_catalogue import SCENARIOS
from stoch2_sim.robots.stoch2.score import WalkScore
from stoch2_sim.robots.stoch2.simulation import SIMULATORS
from stoch2_sim.robots.stoch2.training import MODEL_TRAINING, POLICY_TRAINING, TRAINING

EPISODE_S = 2.0
"""Length of the paper's training episodes: 400 control periods."""


def task() -> Task:
    """The Stoch2 task, as the entry point ``demo_control.tasks`` names it."""
    return Task(
        name="stoch2",
        observation=OBSERVATION,
        action=ACTION,
        control_period_s=CONTROL_PERIOD_S,
        episode_s=EPISODE_S,
        cost_terms=COST_TERMS,
        model_inputs=PLANNING.observation,
        simulators=SIMULATORS,
        make_plants=make_plants,
        make_score=WalkScore,
        reward_function=observation_reward,
        unit_circles=(("phase_cosine", "phase_sine"),),
        planner=PLANNER,
        bringup="stoch2_walk",
        render_video=_render_video,
        planned_path=planned_path,
        planning=PLANNING,
        training=TRAINING,
        policy_training=POLICY_TRAINING,
        model_training=MODEL_TRAINING,
        scenarios=SCENARIOS,
    )


def _render_video(path: Path, runs: Sequence[RecordedRun], progress: Callable[[float], None]) -> str:
    """See :data:`demo_control.tasks.VideoRenderer`."""
    # Only here: it needs graphics libraries that a robot does not have.
    from stoch2_sim.robots.stoch2.recorded_walk import render_recorded  # noqa: PLC0415

    return render_recorded(path, runs, progress)
