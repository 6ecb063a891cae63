"""What the unit tests share: a linear-quadratic task and an exact bundle of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from demo_control.bundle import Bundle, make_bundle, save_bundle
from demo_control.onnx_graph import GraphBuilder
from demo_control.policies import linear_policy_model
from demo_control.tasks import Array, CostTerm, Plants, Quantity, Task

from .recorded_bag import RobotRecorder

# A double integrator with a period of 0.1 s; the limits are wide, so that they never bind.
STATE_MATRIX = np.array([[1.0, 0.1], [0.0, 1.0]])
INPUT_MATRIX = np.array([[0.005], [0.1]])
STATE_COST = np.diag([1.0, 0.1])
INPUT_COST = np.array([[0.05]])
POLICY_GAIN = np.array([[-0.5, -0.8]])
MEMBER_SHIFTS = (-0.02, 0.0, 0.02)


class LinearPlants:
    """Double integrators."""

    def __init__(self, num_plants: int) -> None:
        self.num_plants = num_plants
        self._state = np.zeros((num_plants, 2))

    def reset(self, generators: list[np.random.Generator]) -> Array:
        self._state = np.array([generator.normal(size=2) for generator in generators])
        return self._state.copy()

    def step(self, actions: Array) -> tuple[Array, np.ndarray]:
        self._state = self._state @ STATE_MATRIX.T + actions @ INPUT_MATRIX.T
        return self._state.copy(), np.abs(self._state[:, 0]) > 1e3

    def true_observations(self) -> Array:
        return self._state.copy()

    def close(self) -> None:
        """Nothing is held."""


class NearScore:
    """Success: the integrator is near the origin at the end."""

    def __init__(self) -> None:
        self._distance = np.inf

    def update(self, time_s: float, observation: Array, failed: bool) -> None:
        self._distance = np.inf if failed else float(np.abs(observation).max())

    def result(self) -> dict[str, float | bool]:
        return {"success": self._distance < 0.05, "distance": self._distance}


def make_linear_task() -> Task:
    def make_plants(simulator: str, num_plants: int, settings: object) -> Plants:
        return LinearPlants(num_plants)  # type: ignore[return-value]

    return Task(
        name="integrator",
        observation=(Quantity("position", "m", -5.0, 5.0), Quantity("velocity", "m/s", -5.0, 5.0)),
        action=(Quantity("acceleration", "m/s2", -50.0, 50.0),),
        control_period_s=0.1,
        episode_s=5.0,
        cost_terms=(
            CostTerm("position", 1.0, lambda x, u, xp: x["position"] ** 2, "Squared position."),
            CostTerm("velocity", 0.1, lambda x, u, xp: x["velocity"] ** 2, "Squared velocity."),
            CostTerm("effort", 0.05, lambda x, u, xp: u["acceleration"] ** 2, "Squared acceleration."),
        ),
        model_inputs=("position", "velocity"),
        simulators=("exact",),
        make_plants=make_plants,
        make_score=NearScore,
        planner={"num_samples": 63, "horizon": 10, "noise_standard_deviation": 0.05},
    )


def linear_dynamics_model(shifts: tuple[float, ...] = MEMBER_SHIFTS) -> onnx.ModelProto:
    """The double integrator as an ensemble; each member errs by a constant velocity."""
    members = len(shifts)
    graph = GraphBuilder("integrator")
    x = graph.input("observation", (members, "batch", 2))
    u = graph.input("action", (members, "batch", 1))
    moved = graph.node("MatMul", x, graph.constant(np.tile(STATE_MATRIX.T, (members, 1, 1))))
    pushed = graph.node("MatMul", u, graph.constant(np.tile(INPUT_MATRIX.T, (members, 1, 1))))
    offset = graph.constant(np.array([[[0.0, shift]] for shift in shifts]))
    following = graph.node("Add", graph.node("Add", moved, pushed), offset)
    graph.output("next_observation", following, (members, "batch", 2))
    quiet = graph.node("Sub", graph.node("Mul", following, graph.constant(0.0)), graph.constant(8.0))
    graph.output("log_variance", quiet, (members, "batch", 2))
    return graph.build()


def linear_policy(task: Task, gain: Array = POLICY_GAIN) -> onnx.ModelProto:
    half_range = task.action_maximum[:, None]
    return linear_policy_model(
        gain / half_range, np.zeros(1), np.zeros(2), np.ones(2), task.action_minimum, task.action_maximum
    )


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Threads of networks this small mostly wait for each other, all the more beside another test worker."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def linear_task() -> Task:
    return make_linear_task()


@pytest.fixture(scope="session")
def linear_bundle(linear_task: Task) -> Bundle:
    return make_bundle(
        linear_task,
        policy=linear_policy(linear_task),
        dynamics=linear_dynamics_model(),
        provenance={"command": "a test"},
        metrics={"error": 0.0},
    )


@pytest.fixture
def saved(linear_bundle: Bundle, tmp_path: Path) -> Path:
    """A folder with the bundle, the only one in its own."""
    save_bundle(linear_bundle, tmp_path / "models" / "integrator", "# Card\n")
    return tmp_path / "models" / "integrator"


def linear_value() -> onnx.ModelProto:
    """V = 2 · position − velocity."""
    graph = GraphBuilder("value")
    observation = graph.input("observation", ("batch", 2))
    graph.output("value", graph.node("MatMul", observation, graph.constant([[2.0], [-1.0]])), ("batch", 1))
    return graph.build()


@pytest.fixture(scope="session")
def linear_bundle_with_value(linear_task: Task) -> Bundle:
    """Without the members' errors, so that the equations say where a plan ends."""
    return make_bundle(
        linear_task,
        policy=linear_policy(linear_task),
        dynamics=linear_dynamics_model((0.0, 0.0, 0.0)),
        value=linear_value(),
    )


@pytest.fixture(scope="module")
def fixed_revision() -> Iterator[None]:
    """Trainings say that they are of one revision: somebody may be working on this very source tree."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("pipeline", "known_policy"):
            patch.setattr(f"demo_control.learning.{module}.git_revision", lambda: "0123abc")
        yield


@pytest.fixture(scope="session")
def whole_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a cart-pole, of several chunks; not to be written to."""
    recorder = RobotRecorder(tmp_path_factory.mktemp("bags") / "run")
    recorder.activate()
    for _ in range(4):
        recorder.run(10)
        recorder.scribe.recording.settle()
    return recorder.close()


@pytest.fixture
def bag_copy(whole_bag: Path, tmp_path: Path) -> Path:
    """The same, for this test alone."""
    copy = tmp_path / "run"
    shutil.copytree(whole_bag, copy)
    return copy
