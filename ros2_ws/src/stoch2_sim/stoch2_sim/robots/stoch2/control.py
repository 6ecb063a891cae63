"""All between sensors and joints of walking Stoch2s except the policy; knows neither ROS nor a simulator.

One control tick is :meth:`Stoch2Control.observe`, then a policy and perhaps the DeMo layer, then
:meth:`Stoch2Control.joint_targets`. All of it is batched over robots; a real robot is a batch of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from stoch2_sim.robots.stoch2 import gait
from stoch2_sim.robots.stoch2.estimation import BodyEstimator, EstimationSettings, Instruments
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS, TROT, Gait
from stoch2_sim.robots.stoch2.geometry import NUM_JOINTS, NUM_LEGS
from stoch2_sim.robots.stoch2.observation import BodyState, ObservationBuilder
from stoch2_sim.robots.stoch2.reference import CommandSettings, CommandShaper, LeashSettings
from stoch2_sim.robots.stoch2.simulation import Sensors
from stoch2_sim.simulators.protocol import Array, Mask


@dataclass(frozen=True)
class ControlSettings:
    """Settings that all robots of a batch share."""

    commands: CommandSettings = field(default_factory=CommandSettings)
    leash: LeashSettings = field(default_factory=LeashSettings)
    estimation: EstimationSettings = field(default_factory=EstimationSettings)
    gait: Gait = TROT


@dataclass(frozen=True)
class Ideal:
    """What a simulator may tell instead of the estimates.

    Attributes:
        robots: Which robots are told. Shape=(num_robots,).
        state: The true state of all robots.
    """

    robots: Mask
    state: BodyState


class Stoch2Control:
    """Estimation, commands and gait of several robots.

    Args:
        instruments: What each robot measures with; their number is that of the robots.
        settings: Of everything else.
    """

    def __init__(self, instruments: Sequence[Instruments], settings: ControlSettings | None = None) -> None:
        self._settings = settings or ControlSettings()
        num_robots = len(instruments)
        self._estimator = BodyEstimator(instruments, self._settings.estimation)
        self._shaper = CommandShaper(num_robots, self._settings.commands)
        self._observer = ObservationBuilder(num_robots, self._settings.leash)
        self._phases = np.zeros(num_robots)
        self._actions = np.zeros((num_robots, NUM_ACTIONS))
        self._targets = np.zeros((num_robots, NUM_LEGS, NUM_JOINTS))
        self._commands = np.zeros((num_robots, 3))
        self._held: Mask = np.zeros(num_robots, dtype=bool)
        self._state: BodyState | None = None

    @property
    def num_robots(self) -> int:
        """Number of robots."""
        return len(self._phases)

    @property
    def phases(self) -> Array:
        """Phase of the gait, cycles in [0, 1): that of the next joint targets. Shape=(num_robots,)."""
        return self._phases

    @property
    def commands(self) -> Array:
        """Forward speed, lateral speed and yaw rate in force, after limits. Shape=(num_robots, 3)."""
        return self._commands

    @property
    def held(self) -> Mask:
        """Whose last action was not usable, so that the one before goes on. Shape=(num_robots,)."""
        return self._held

    @property
    def standing(self) -> Mask:
        """Which feet are taken to stand. Shape=(num_robots, 4)."""
        return self._estimator.standing

    @property
    def state(self) -> BodyState:
        """How the robots stand and move, as last estimated (or told, see :class:`Ideal`).

        Raises:
            RuntimeError: Nothing has been observed yet.
        """
        if self._state is None:
            raise RuntimeError("no state yet: observe() has not been called")
        return self._state

    def reset(
        self, position: Array, yaw: Array, phases: Array | None = None, joint_targets: Array | None = None,
        selected: Mask | None = None,
    ) -> None:  # fmt: skip
        """Start anew with the selected robots, or all: standing, no command, the neutral action.

        Args:
            position: World x and y of all robots (their origin is theirs to choose), m. Shape=(num_robots, 2).
            yaw: Headings of all robots, rad. Shape=(num_robots,).
            phases: Phase that the gait starts at, cycles; None for 0. Shape=(num_robots,).
            joint_targets: Where the joints have been held; None for the gait's first. Shape=(num_robots, 4, 3).
            selected: Shape=(num_robots,).
        """
        rows = slice(None) if selected is None else selected
        self._estimator.reset(position, yaw, selected)
        self._shaper.reset(selected)
        self._observer.reset(position, yaw, selected)
        self._phases[rows] = 0.0 if phases is None else np.mod(phases, 1.0)[rows]
        self._actions[rows] = 0.0
        self._held[rows] = False
        if joint_targets is None:
            joint_targets = gait.joint_targets(self._actions, self._phases, self._settings.gait)
        self._targets[rows] = joint_targets[rows]

    def observe(
        self, sensors: Sensors, requested: Array, age_s: Array | None = None, ideal: Ideal | None = None
    ) -> Array:
        """Take in one control tick; ticks must follow one another.

        Args:
            sensors: Measurements of all robots.
            requested: Forward speed, lateral speed and yaw rate that are asked for. Shape=(num_robots, 3).
            age_s: Time since they were asked for, s; None for just now. Shape=(num_robots,).
            ideal: The truth for robots that need not estimate.

        Returns:
            Observations; see :mod:`~stoch2_sim.robots.stoch2.observation`. Shape=(num_robots, 25).
        """
        state = self._estimator.update(sensors, self._targets, self._phases)
        if ideal is not None:
            state = _chosen(ideal, state)
        self._state = state
        self._commands = self._shaper.update(requested, age_s)
        return self._observer.build(state, self._phases, self._commands)

    def joint_targets(self, actions: Array) -> Array:
        """Where the joints should be for this control tick; the gait's clock then moves on.

        A robot whose action is not finite keeps its last good one; if the actions have the wrong shape, all do. See
        :attr:`held`.

        Args:
            actions: Normalised, clipped to [-1, 1]. Shape=(num_robots, 20).

        Returns:
            Rad. Shape=(num_robots, 4, 3).
        """
        if actions.shape == self._actions.shape:
            self._held = np.logical_not(np.isfinite(actions).all(axis=1))
            self._actions = np.where(self._held[:, None], self._actions, actions)
        else:
            self._held = np.ones(self.num_robots, dtype=bool)
        self._targets = gait.joint_targets(self._actions, self._phases, self._settings.gait)
        self._phases = np.mod(self._phases + self._settings.gait.phase_step, 1.0)
        return self._targets

    def hold(self, joint_targets: Array) -> None:
        """The joints are held elsewhere in this control tick: the robot stands, sits, or goes over into its gait.

        Args:
            joint_targets: Rad. Shape=(num_robots, 4, 3).
        """
        self._targets = joint_targets


def _chosen(ideal: Ideal, estimate: BodyState) -> BodyState:
    """The truth for some robots, the estimate for the others."""
    if ideal.robots.all():
        return ideal.state
    merged = {}
    for entry in fields(BodyState):
        true, estimated = getattr(ideal.state, entry.name), getattr(estimate, entry.name)
        merged[entry.name] = np.where(ideal.robots.reshape(-1, *[1] * (true.ndim - 1)), true, estimated)
    return BodyState(**merged)
