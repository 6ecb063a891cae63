"""The MuJoCo engine behind the :class:`~stoch2_sim.simulators.protocol.Simulator` protocol."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from demo_control.configuration import ConfigurationError
from stoch2_sim.simulators.checks import check_layout, check_shape
from stoch2_sim.simulators.protocol import Array, Mask, RobotModel


class MujocoSimulator:
    """Copies of a robot in MuJoCo: one shared model, one ``MjData`` each.

    Actuators must be plain motors named like their joints; the time step is set from period and
    substeps, the integrator is the description's.

    Args:
        model: The robot.
        num_robots: Number of copies.
        period_s: Control period.
        substeps: Physics steps in a control period.

    Raises:
        ConfigurationError: A wrong argument, or a name the description does not have.
    """

    name = "mujoco"

    def __init__(self, model: RobotModel, num_robots: int, period_s: float, substeps: int) -> None:
        check_layout(num_robots, period_s, substeps)
        self.num_robots = num_robots
        self.period_s = period_s
        self.substeps = substeps
        self._model: Any = mujoco.MjModel.from_xml_string(model.mjcf)
        self._model.opt.timestep = period_s / substeps
        joints = [self._identifier(mujoco.mjtObj.mjOBJ_JOINT, "joint", name) for name in model.joints]
        self._position_index = [int(self._model.jnt_qposadr[joint]) for joint in joints]
        self._velocity_index = [int(self._model.jnt_dofadr[joint]) for joint in joints]
        self._actuators = [self._identifier(mujoco.mjtObj.mjOBJ_ACTUATOR, "actuator", name) for name in model.actuators]
        # The caller owns the limits; the description's control range is for viewers.
        self._model.actuator_ctrllimited[:] = 0
        self._data: list[Any] = [mujoco.MjData(self._model) for _ in range(num_robots)]

    def _identifier(self, kind: Any, word: str, name: str) -> int:  # noqa: ANN401 - an enum without stubs
        """MuJoCo's number of a named object, or a ConfigurationError."""
        identifier = int(mujoco.mj_name2id(self._model, kind, name))
        if identifier < 0:
            raise ConfigurationError(f"{word} '{name}' is not in the MuJoCo description")
        return identifier

    @property
    def times_s(self) -> Array:
        """Simulated time since the reset by the engine's clock. Shape=(num_robots,)."""
        return np.array([data.time for data in self._data])

    def reset(self, positions: Array, velocities: Array) -> None:
        """Put every copy into a state; see the protocol."""
        shape = (self.num_robots, len(self._position_index))
        check_shape("positions", positions, shape)
        check_shape("velocities", velocities, shape)
        for robot, data in enumerate(self._data):
            mujoco.mj_resetData(self._model, data)
            data.qpos[self._position_index] = positions[robot]
            data.qvel[self._velocity_index] = velocities[robot]
            mujoco.mj_forward(self._model, data)

    def advance(self, efforts: Array, num_substeps: int, active: Mask | None = None) -> None:
        """Advance by physics steps under constant efforts; see the protocol."""
        check_shape("efforts", efforts, (self.num_robots, len(self._actuators)))
        if num_substeps < 1:
            return
        for robot, data in enumerate(self._data):
            if active is None or active[robot]:
                data.ctrl[self._actuators] = efforts[robot]
                mujoco.mj_step(self._model, data, num_substeps)

    def positions(self) -> Array:
        """Joint positions. Shape=(num_robots, num_joints)."""
        return np.array([data.qpos[self._position_index] for data in self._data])

    def velocities(self) -> Array:
        """Joint velocities. Shape=(num_robots, num_joints)."""
        return np.array([data.qvel[self._velocity_index] for data in self._data])

    def set_external_force(self, body: str, forces: Array) -> None:
        """Push at a body's centre of mass until changed; see the protocol."""
        check_shape("forces", forces, (self.num_robots, 3))
        identifier = self._identifier(mujoco.mjtObj.mjOBJ_BODY, "body", body)
        for robot, data in enumerate(self._data):
            data.xfrc_applied[identifier, :3] = forces[robot]

    def close(self) -> None:
        """Release the engine's data."""
        self._data = []
