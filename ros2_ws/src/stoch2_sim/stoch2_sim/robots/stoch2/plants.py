"""Walking Stoch2s for training and evaluation: physics, sensing, commands and pushes in one place."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from demo_control.configuration import Scalar, setting
from stoch2_sim.robots.stoch2.control import ControlSettings, Ideal, Stoch2Control
from stoch2_sim.robots.stoch2.episode import CommandChange, Episode, Push, SensingParameters
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.ground import Ground
from stoch2_sim.robots.stoch2.observation import BodyState, ObservationBuilder
from stoch2_sim.robots.stoch2.parameters import RobotParameters, inclined
from stoch2_sim.robots.stoch2.reference import WITHOUT_LEASH, CommandSettings, LeashSettings
from stoch2_sim.robots.stoch2.schedule import Schedule
from stoch2_sim.robots.stoch2.sensing import NoisySensors
from stoch2_sim.robots.stoch2.simulation import QuadrupedSimulation, Truth, make_simulation
from stoch2_sim.simulators.checks import check_shape
from stoch2_sim.simulators.protocol import Array, Mask

# The paper's: an episode ends beyond these.
ROLL_LIMIT_RAD = math.radians(30.0)
PITCH_LIMIT_RAD = math.radians(35.0)
HEIGHT_MAXIMUM_M = 0.7
# The trunk lies on the ground below this; walking, it is at 0.2 m and more.
HEIGHT_MINIMUM_M = 0.11


class Stoch2Plants:
    """Independent Stoch2s, stepped together; implements :class:`demo_control.tasks.Plants`.

    A robot fails when it rolls beyond 30° or pitches beyond 35°, when its trunk comes down to the ground or flies off,
    or when it is given an action that is not finite. Failed robots stay where they are.

    Args:
        simulator: 'mujoco' or 'pybullet'.
        episodes: One for each robot.
        control: Settings that all robots share.
    """

    def __init__(self, simulator: str, episodes: Sequence[Episode], control: ControlSettings | None = None) -> None:
        self._episodes = tuple(episodes)
        count = len(self._episodes)
        robots = [episode.robot for episode in self._episodes]
        self._simulation = make_simulation(simulator, robots)
        self._ground = Ground(robots)
        self._control = Stoch2Control([episode.sensing.instruments for episode in self._episodes], control)
        self._truly = ObservationBuilder(count, WITHOUT_LEASH)
        self._ideal: Mask = np.array([episode.sensing.ideal_sensing for episode in self._episodes])
        self._latency = np.array([episode.sensing.latency_ticks for episode in self._episodes])
        self._recent: deque[Array] = deque(maxlen=int(self._latency.max()) + 1)
        self._sensors = NoisySensors([episode.sensing for episode in self._episodes])
        self._schedule = Schedule(self._episodes)
        self._failed: Mask = np.zeros(count, dtype=bool)
        self._truth: Truth | None = None
        self._state: BodyState | None = None
        self._true_observations = np.zeros((count, 0))

    @property
    def num_plants(self) -> int:
        """Number of robots."""
        return len(self._episodes)

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Each robot's episode."""
        return self._episodes

    @property
    def simulation(self) -> QuadrupedSimulation:
        """The simulation, for pictures; it belongs to the plants."""
        return self._simulation

    @property
    def control(self) -> Stoch2Control:
        """Estimation, commands and gait, to look into."""
        return self._control

    @property
    def ground(self) -> Ground:
        """The true ground."""
        return self._ground

    @property
    def truth(self) -> Truth:
        """The true state after the last step (or reset)."""
        if self._truth is None:
            raise RuntimeError("no state yet: reset() has not been called")
        return self._truth

    @property
    def state(self) -> BodyState:
        """The same as observations tell it."""
        if self._state is None:
            raise RuntimeError("no state yet: reset() has not been called")
        return self._state

    @property
    def failed(self) -> Mask:
        """Which robots have failed. Shape=(num_plants,)."""
        return np.array(self._failed)

    @property
    def commands(self) -> Array:
        """Forward speed, lateral speed and yaw rate in force, after limits. Shape=(num_plants, 3)."""
        return np.array(self._control.commands)

    def qpos(self, index: int) -> Array:
        """Configuration of one robot for pictures; see :meth:`QuadrupedSimulation.qpos`."""
        return self._simulation.qpos(index)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """Start every robot anew, standing.

        Args:
            generators: One for each robot.

        Returns:
            The first observations. Shape=(num_plants, 25).

        Raises:
            ValueError: Not one generator for each robot.
        """
        if len(generators) != self.num_plants:
            raise ValueError(f"{len(generators)} generators for {self.num_plants} plants")
        draws = np.array([generator.standard_normal() for generator in generators])
        self._sensors.reset([np.random.default_rng(generator.integers(2**63, size=4)) for generator in generators])
        yaws = np.array([episode.initial_yaw_rad for episode in self._episodes])
        yaws += draws * np.array([episode.yaw_noise_rad for episode in self._episodes])
        self._simulation.reset(yaws)
        self._schedule.reset(yaws)
        self._failed[:] = False
        self._look()
        state = self.state
        position, yaw = state.position, state.angles[:, 2]
        sensors = self._simulation.sensors()
        phases = np.array([episode.initial_phase for episode in self._episodes])
        self._control.reset(position, yaw, phases, sensors.joint_positions)
        self._truly.reset(position, yaw)
        self._recent.clear()
        return self._observe()

    def step(self, actions: Array) -> tuple[Array, Mask]:
        """Apply one action per robot for one control period.

        Args:
            actions: Normalised, clipped to [-1, 1]. Shape=(num_plants, 20).

        Returns:
            Observations with noise and latency, Shape=(num_plants, 25), and which robots have failed so far,
            Shape=(num_plants,).
        """
        check_shape("actions", actions, (self.num_plants, NUM_ACTIONS))
        targets = self._control.joint_targets(actions)
        self._failed = self._failed | self._control.held
        self._simulation.advance(targets, self._schedule.forces(), ~self._failed)
        self._schedule.advance()
        self._look()
        self._failed = self._failed | self._fallen()
        return self._observe(), np.array(self._failed)

    def true_observations(self) -> Array:
        """The true states in the observation's coordinates, relative to an unleashed reference.

        Shape=(num_plants, 25).
        """
        return np.array(self._true_observations)

    def close(self) -> None:
        """Release the simulator."""
        self._simulation.close()

    def _look(self) -> None:
        """Read the true state."""
        self._truth = self._simulation.truth()
        self._state = self._ground.state(self._truth)

    def _fallen(self) -> Mask:
        """Who has failed now; a state that is not finite has, too."""
        state = self.state
        upright = (np.abs(state.angles[:, 0]) <= ROLL_LIMIT_RAD) & (np.abs(state.angles[:, 1]) <= PITCH_LIMIT_RAD)
        return ~(upright & (state.height >= HEIGHT_MINIMUM_M) & (state.height <= HEIGHT_MAXIMUM_M))

    def _observe(self) -> Array:
        """Observations as the robots' policies get them. Shape=(num_plants, 25)."""
        state = self.state
        sensors = self._sensors.read(self._simulation.sensors())
        ideal = Ideal(self._ideal, state) if self._ideal.any() else None
        observations = self._control.observe(sensors, self._schedule.requests(), None, ideal)
        self._true_observations = self._truly.build(state, self._control.phases, self._control.commands)
        self._recent.append(observations)
        if len(self._recent) == 1 or not self._latency.any():
            return np.array(observations)
        recent = np.array(self._recent)
        newest = len(recent) - 1
        return np.asarray(recent[newest - np.minimum(self._latency, newest), np.arange(self.num_plants)])


@dataclass(frozen=True)
class PlantSettings(RobotParameters, SensingParameters, CommandSettings, LeashSettings):
    """All that distinguishes one kind of plant from another, by name."""

    forward_speed: float = setting(0.0, "Forward speed that is asked for, m/s", minimum=-2.0, maximum=2.0)
    lateral_speed: float = setting(0.0, "Lateral speed (to the left) that is asked for, m/s", minimum=-2.0, maximum=2.0)
    yaw_rate: float = setting(0.0, "Yaw rate that is asked for, rad/s", minimum=-3.0, maximum=3.0)
    push_n: float = setting(0.0, "Push to the left at the trunk, N; negative to the right", minimum=-2e3, maximum=2e3)
    push_forward_n: float = setting(0.0, "Push forward at the trunk, N", minimum=-2e3, maximum=2e3)
    push_time_s: float = setting(1.5, "When the push begins, s", minimum=0.0, maximum=1e4)
    push_s: float = setting(
        0.03, "Duration of the push, s, rounded to control periods", minimum=CONTROL_PERIOD_S, maximum=10.0
    )
    initial_yaw_deg: float = setting(0.0, "Heading at the start, degrees", minimum=-180.0, maximum=180.0)
    yaw_noise_rad: float = setting(
        0.02, "Deviation of a random addition to the heading at the start", minimum=0.0, maximum=3.0
    )

    def episode(self) -> Episode:
        """The episode that the settings describe; an inclination makes flat ground a slope.

        Raises:
            ConfigurationError: An inclination of stairs or rough ground.
        """
        values = self.as_mapping()
        pushes = []
        if self.push_n != 0.0 or self.push_forward_n != 0.0:
            start, duration = round(self.push_time_s / CONTROL_PERIOD_S), round(self.push_s / CONTROL_PERIOD_S)
            pushes.append(Push(start, duration, (self.push_forward_n, self.push_n, 0.0)))
        return Episode(
            robot=inclined(RobotParameters.from_mapping(_part(RobotParameters, values))),
            sensing=SensingParameters.from_mapping(_part(SensingParameters, values)),
            commands=(CommandChange(0, self.forward_speed, self.lateral_speed, self.yaw_rate),),
            pushes=tuple(pushes),
            initial_yaw_rad=math.radians(self.initial_yaw_deg),
            yaw_noise_rad=self.yaw_noise_rad,
        )

    def control(self) -> ControlSettings:
        """What all robots share."""
        values = self.as_mapping()
        return replace(
            ControlSettings(),
            commands=CommandSettings.from_mapping(_part(CommandSettings, values)),
            leash=LeashSettings.from_mapping(_part(LeashSettings, values)),
        )


def make_plants(simulator: str, num_plants: int, settings: Mapping[str, Scalar]) -> Stoch2Plants:
    """Equal plants; implements :data:`demo_control.tasks.PlantFactory`.

    Args:
        simulator: 'mujoco' or 'pybullet'.
        num_plants: Number of plants.
        settings: Names and values of :class:`PlantSettings`.

    Raises:
        ConfigurationError: An unknown simulator or setting, a bad value, or PyBullet missing.
    """
    checked = PlantSettings.from_mapping(settings, source="plant settings")
    return Stoch2Plants(simulator, [checked.episode()] * num_plants, checked.control())


def _part(kind: type[RobotParameters | SensingParameters | CommandSettings | LeashSettings],
          values: Mapping[str, Scalar]) -> dict[str, Scalar]:  # fmt: skip
    """The values that belong to one kind of settings."""
    return {entry.name: values[entry.name] for entry in kind.entries()}
