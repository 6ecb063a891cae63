"""A small task whose plans correct a policy: points that go forward and turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.random import Generator

from demo_control.configuration import Scalar
from demo_control.corrections import LinearCorrection
from demo_control.tasks import Array, Namespace, Planning, Plants, Quantity, Score, Task, Transition
from demo_control.training_spec import DataPlants, ModelTraining, PolicyTraining

PERIOD_S, DECISION_TICKS, PLANNING_TICKS, EPISODE_TICKS = 0.1, 5, 2, 40

TINY: dict[str, Scalar] = {
    "search.variant": "V1-t",
    "search.use_bias": False,
    "search.iterations": 4,
    "search.num_directions": 3,
    "search.num_top_directions": 2,
    "search.episode_s": 1.0,
    "search.evaluation_interval": 2,
    "exploration.episodes": 12,
    "exploration.unseen_episodes": 3,
    "exploration.episode_s": EPISODE_TICKS * PERIOD_S,
    "exploration.batch_episodes": 5,
    "exploration.held_out_fraction": 0.25,
    "network.num_members": 2,
    "network.num_elites": 2,
    "network.hidden_units": 8,
    "final_fit.steps": 30,
    "final_fit.evaluation_interval": 10,
    "final_fit.unroll_steps": 2,
    "acceptance.episodes": 0,
}


class TurningPlants:
    """Points that go forward and turn; what they know is their offset to a reference that goes as commanded."""

    def __init__(self, drags: Sequence[float], fail_beyond: float = np.inf) -> None:
        self._drags = np.array(drags)
        self._fail_beyond = fail_beyond
        self._states = np.zeros((len(drags), 4))
        self._failed = np.zeros(len(drags), dtype=bool)
        self.actions: list[Array] = []

    @property
    def num_plants(self) -> int:
        return len(self._drags)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        self._states = np.array([[0.0, 0.0, 0.5, generator.uniform(0.5, 1.0)] for generator in generators])
        self._failed[:] = False
        return self.true_observations()

    def step(self, actions: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        self.actions.append(actions.copy())
        error, yaw, speed, command = self._states.T
        speed = speed + PERIOD_S * (actions[:, 0] - self._drags * speed)
        yaw = yaw + PERIOD_S * actions[:, 1]
        error = error + PERIOD_S * (speed * np.cos(yaw) - command)
        moved = np.stack([error, yaw, speed, command], axis=1)
        self._states = np.where(self._failed[:, None], self._states, moved)
        self._failed = self._failed | (np.abs(error) > self._fail_beyond)
        return self.true_observations(), self._failed.copy()

    def true_observations(self) -> Array:
        return self._states.copy()

    def close(self) -> None:
        """Nothing to release."""


def _targets(x: Array, x_next: Array, _u: Array) -> Array:
    forward = x_next[:, 0] - x[:, 0] + DECISION_TICKS * PERIOD_S * x[:, 3]
    return np.stack([x_next[:, 1] - x[:, 1], x_next[:, 2] - x[:, 2], forward / np.cos(x[:, 1])], axis=1)


def _apply(x: Mapping[str, Any], y: Mapping[str, Any], u: Mapping[str, Any], xp: Namespace) -> dict[str, Any]:
    way = DECISION_TICKS * PERIOD_S * x["command"]
    return {
        "error": x["error"] + y["way"] * xp.cos(x["yaw"]) - way,
        "yaw": x["yaw"] + y["turned"],
        "speed": xp.maximum(x["speed"] + y["sped_up"], -50.0),
        "command": x["command"],
        "push_before": u["push"],
    }


OBSERVATION = (
    Quantity("error", "m", -5.0, 5.0),
    Quantity("yaw", "rad", -1.0, 1.0),
    Quantity("speed", "m/s", -4.0, 4.0),
    Quantity("command", "m/s", 0.0, 2.0),
)
PLANNING = Planning(
    observation=tuple(quantity.name for quantity in OBSERVATION),
    correction=(Quantity("push", "1", -1.0, 1.0),),
    correct=LinearCorrection(np.array([[1.0], [0.5]])),
    decision_ticks=DECISION_TICKS,
    planning_ticks=PLANNING_TICKS,
    model_inputs=("yaw", "speed", "push_before"),
    transition=Transition(("turned", "sped_up", "way"), _targets, _apply),
)


def curriculum(_simulator: str, iteration: int, common: Generator, generators: Sequence[Generator]) -> Plants:
    drag = (0.5 if iteration < 2 else 1.0) + common.uniform(0.0, 0.1)
    return TurningPlants([drag + generator.uniform(0.0, 0.1) for generator in generators])


def data(_simulator: str, generators: Sequence[np.random.Generator], num_ticks: int) -> DataPlants:
    disturbed = np.zeros((num_ticks, len(generators)), dtype=bool)
    disturbed[20] = True
    return DataPlants(TurningPlants([generator.uniform(0.5, 1.5) for generator in generators]), disturbed)


def initial_weights(_simulator: str) -> Array:
    return np.array([[0.0, 0.0, -0.1, 0.0], [0.0, -0.5, 0.0, 0.0]])


class NoScore:
    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        """Not judged."""

    def result(self) -> dict[str, float | bool]:
        return {"success": True}


def make_score() -> Score:
    return NoScore()


def turning_task() -> Task:
    return Task(
        name="turning",
        observation=OBSERVATION,
        action=(Quantity("push", "1", -2.0, 2.0), Quantity("turn", "1", -2.0, 2.0)),
        control_period_s=PERIOD_S,
        episode_s=2.0,
        cost_terms=(),
        model_inputs=(),
        simulators=("numpy",),
        make_plants=lambda _, count, __: TurningPlants([1.0] * count),
        make_score=make_score,
        reward_function=lambda x, u: -((x[..., 2] - 1.0) ** 2),
        planner={"num_samples": 8, "horizon": 3},
        training=TINY,
        planning=PLANNING,
        policy_training=PolicyTraining(
            inputs=("yaw", "speed"),
            initial_weights=initial_weights,
            plants=curriculum,
            evaluation_plants=lambda _: TurningPlants([0.5, 1.5]),
            evaluation_names=("light", "heavy"),
        ),
        model_training=ModelTraining(
            plants=data,
            unseen_plants=data,
            guide=lambda x: 0.2 * (x[:, 3:] - x[:, 2:3]),
            bias=np.array([0.8]),
            noise=np.array([0.2]),
        ),
    )


@pytest.fixture(scope="session")
def task() -> Task:
    return turning_task()


@pytest.fixture(scope="session")
def turning_plants() -> type[TurningPlants]:
    return TurningPlants
