"""Many environments on MuJoCo in one process, with little around the simulator's own work.

One ``mjData`` serves all environments of a batch, so that it stays in the cache: each environment is a row of numbers
(the simulator's state), put in before its step and taken out behind it. Observations, rewards and terminations are then
computed for all rows at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

import mujoco
import numpy as np

from demo_control.learning.environments import Booleans, Indices, Step
from demo_control.tasks import Array

_STATE = int(mujoco.mjtState.mjSTATE_FULLPHYSICS | mujoco.mjtState.mjSTATE_WARMSTART | mujoco.mjtState.mjSTATE_CTRL)
"""What a step depends on: physics, where the solver starts from, and the action."""


class Motion(NamedTuple):
    """Where k environments are.

    Attributes:
        positions: Generalised. Shape=(k, nq).
        velocities: Generalised. Shape=(k, nv).
        derived: What :attr:`Robot.derived` names, as the simulator left it. Shape=(k, num_derived).
    """

    positions: Array
    velocities: Array
    derived: Array


@dataclass(frozen=True)
class Robot:
    """A robot of Gymnasium's, and its job.

    Attributes:
        model_file: Among Gymnasium's assets.
        frame_skip: Simulator's steps per action.
        reset_noise: Positions start uniformly within this of the model's; velocities too, or
        normal_velocities: as a normal distribution of this deviation.
        observe: Maps a motion to observations. Shape=(k, observation_dim).
        judge: Maps (motion before, motion after, actions, seconds between) to rewards and terminations. Shape=(k,).
        derived: Views of numbers in ``mjData`` that are no part of the state but that Gymnasium reads after a step.
            They are of the simulator's last inner evaluation, a little off the state; Gymnasium has it so.
        contact_forces: Whether the simulator must compute ``cfrc_ext`` for that.
    """

    model_file: str
    frame_skip: int
    reset_noise: float
    normal_velocities: bool
    observe: Callable[[Motion], Array]
    judge: Callable[[Motion, Motion, Array, float], tuple[Array, Booleans]]
    derived: Callable[[mujoco.MjData], Sequence[Array]] = lambda _: ()
    contact_forces: bool = False


class MujocoEnvironments:
    """A batch of one robot; see :class:`demo_control.learning.environments.Environments`.

    Args:
        robot: Which.
        time_limit: Steps of an episode.
        num_environments: How many.
    """

    def __init__(self, robot: Robot, time_limit: int, num_environments: int) -> None:
        self._robot, self._time_limit = robot, time_limit
        path = files("gymnasium") / "envs" / "mujoco" / "assets" / robot.model_file
        self._model = _loaded(str(path))
        self._data = mujoco.MjData(self._model)
        self._period_s = self._model.opt.timestep * robot.frame_skip
        self._views = [np.reshape(view, -1) for view in robot.derived(self._data)]
        size = mujoco.mj_stateSize(self._model, _STATE)
        num_derived = sum(len(view) for view in self._views)
        self._rows: Array = np.zeros((num_environments, size + num_derived + 1))
        self._simulated = list(self._rows[:, :size])
        self._derived = list(self._rows[:, size:-1])
        self._positions = self._columns(mujoco.mjtState.mjSTATE_QPOS)
        self._velocities = self._columns(mujoco.mjtState.mjSTATE_QVEL)
        self._controls = self._columns(mujoco.mjtState.mjSTATE_CTRL)
        self._all = np.arange(num_environments)

    @property
    def num_environments(self) -> int:
        """How many there are."""
        return len(self._rows)

    def reset(self, generators: Sequence[np.random.Generator]) -> Array:
        """See the protocol."""
        return self.reset_some(self._all, generators)

    def reset_some(self, indices: Indices, generators: Sequence[np.random.Generator]) -> Array:
        """See the protocol; draws in Gymnasium's order."""
        model, data, noise = self._model, self._data, self._robot.reset_noise
        for index, generator in zip(indices, generators, strict=True):
            mujoco.mj_resetData(model, data)
            data.qpos += generator.uniform(-noise, noise, model.nq)
            if self._robot.normal_velocities:
                data.qvel[:] = noise * generator.standard_normal(model.nv)
            else:
                data.qvel[:] = generator.uniform(-noise, noise, model.nv)
            mujoco.mj_forward(model, data)
            self._keep(index)
            self._rows[index, -1] = 0.0
        return self._robot.observe(self._motion(self._rows[indices]))

    def step(self, actions: Array) -> Step:
        """See the protocol."""
        return self.step_some(self._all, actions)

    def step_some(self, indices: Indices, actions: Array) -> Step:
        """See the protocol."""
        model, data = self._model, self._data
        # take, not an index: a fifth of the time for so few rows.
        before = self._motion(self._rows.take(indices, axis=0))
        self._rows[indices, self._controls] = actions
        # Names and numbers of Python's own: what is looked up here is looked up at every step of every environment.
        frame_skip, contact_forces, simulated = self._robot.frame_skip, self._robot.contact_forces, self._simulated
        set_state, advance, get_state = mujoco.mj_setState, mujoco.mj_step, mujoco.mj_getState
        for index in np.asarray(indices).tolist():
            row = simulated[index]
            set_state(model, data, row, _STATE)
            advance(model, data, frame_skip)
            if contact_forces:
                mujoco.mj_rnePostConstraint(model, data)
            get_state(model, data, row, _STATE)
            if self._views:
                np.concatenate(self._views, out=self._derived[index])
        rows = self._rows.take(indices, axis=0)
        rows[:, -1] += 1.0
        self._rows[indices, -1] = rows[:, -1]
        after = self._motion(rows)
        rewards, terminated = self._robot.judge(before, after, actions, self._period_s)
        return Step(self._robot.observe(after), rewards, terminated, rows[:, -1] >= self._time_limit)

    def observations(self) -> Array:
        """See the protocol."""
        return self._robot.observe(self._motion(self._rows))

    def states(self) -> Array:
        """See the protocol."""
        return np.array(self._rows)

    def set_states(self, states: Array) -> None:
        """See the protocol."""
        self._rows[:] = states

    def close(self) -> None:
        """Nothing is held but memory."""

    def _keep(self, index: int) -> None:
        """Take what the simulator holds into an environment's row."""
        mujoco.mj_getState(self._model, self._data, self._simulated[index], _STATE)
        if self._views:
            np.concatenate(self._views, out=self._derived[index])

    def _motion(self, rows: Array) -> Motion:
        size = len(self._simulated[0])
        return Motion(rows[:, self._positions], rows[:, self._velocities], rows[:, size:-1])

    def _columns(self, part: mujoco.mjtState) -> slice:
        """Where a part of the simulator's state is in a row: parts come in the order of their bits."""
        bit = int(part)
        first = mujoco.mj_stateSize(self._model, _STATE & (bit - 1))
        return slice(first, first + mujoco.mj_stateSize(self._model, bit))


def _loaded(path: str) -> mujoco.MjModel:
    """One of Gymnasium's descriptions, without word of what it says in an old way: that is not the user's to mend."""

    def tell(text: str) -> None:
        if "deprecated" not in text:
            print(f"MuJoCo: {text}", file=sys.stderr)

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(tell)
    try:
        return mujoco.MjModel.from_xml_path(path)
    finally:
        mujoco.set_mju_user_warning(before)
