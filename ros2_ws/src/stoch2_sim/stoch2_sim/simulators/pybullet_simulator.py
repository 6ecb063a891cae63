"""The PyBullet engine behind the :class:`~stoch2_sim.simulators.protocol.Simulator` protocol.

PyBullet is an optional dependency (it has no wheels for newer Pythons), so it is imported on
construction.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from demo_control.configuration import ConfigurationError
from stoch2_sim.simulators.checks import check_layout, check_shape
from stoch2_sim.simulators.protocol import Array, Mask, RobotModel


def import_pybullet() -> Any:  # noqa: ANN401 - a module without stubs
    """The pybullet module.

    Raises:
        ConfigurationError: It is not installed; the text says how to get it.
    """
    try:
        with _quiet_standard_output():
            return importlib.import_module("pybullet")
    except ImportError:
        raise ConfigurationError(
            "simulator 'pybullet': PyBullet is not installed. Install the extra with "
            "`pip install 'demo-stack[pybullet]'` (wheels end at Python 3.11), or use 'mujoco'"
        ) from None


@contextlib.contextmanager
def _quiet_standard_output() -> Iterator[None]:
    """Keep C code off standard output, which may carry our JSON; Bullet prints when it is loaded."""
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    flush(None)
    saved = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
            flush(None)
    finally:
        os.dup2(saved, 1)
        os.close(saved)


class PybulletSimulator:
    """Copies of a robot in PyBullet, each in a headless physics client of its own.

    PyBullet's defaults are made for games: it damps links, holds every joint with a hidden motor, makes
    walls of the joints' limits and guesses inertias from shapes. All of that is switched off here, so that
    bodies, joints and friction of the URDF alone decide. Its integrator is first order (semi-implicit
    Euler): choose the substeps accordingly.

    Args:
        model: The robot; its first URDF link is fixed to the world.
        num_robots: Number of copies.
        period_s: Control period.
        substeps: Physics steps in a control period.

    Raises:
        ConfigurationError: PyBullet is missing, a wrong argument, or a name the URDF does not have.
    """

    name = "pybullet"

    def __init__(self, model: RobotModel, num_robots: int, period_s: float, substeps: int) -> None:
        check_layout(num_robots, period_s, substeps)
        self.num_robots = num_robots
        self.period_s = period_s
        self.substeps = substeps
        self._bullet = import_pybullet()
        self._clients: list[int] = []
        self._steps = np.zeros(num_robots, dtype=np.int64)
        self._body = 0
        try:
            with tempfile.TemporaryDirectory(prefix="pybullet_") as folder:
                path = Path(folder) / "robot.urdf"
                path.write_text(_without_stops(model.urdf), encoding="utf-8")
                for _ in range(num_robots):
                    self._connect(path)
            names = self._names()
            self._joints = [_index(names[0], "joint", name) for name in model.joints]
            self._actuators = [_index(names[0], "joint", name) for name in model.actuators]
            self._links = names[1]
        except Exception:
            self.close()
            raise
        self._forces: dict[int, Array] = {}

    def _connect(self, urdf: Path) -> None:
        """Open one more physics client with the robot in it, all hidden forces off."""
        bullet = self._bullet
        client = bullet.connect(bullet.DIRECT)
        if client < 0:
            raise ConfigurationError(f"num_robots = {self.num_robots}: PyBullet allows no more physics clients")
        self._clients.append(client)
        bullet.setGravity(0.0, 0.0, -9.81, physicsClientId=client)
        bullet.setPhysicsEngineParameter(
            fixedTimeStep=self.period_s / self.substeps, numSubSteps=0, physicsClientId=client
        )
        flags = bullet.URDF_USE_INERTIA_FROM_FILE
        self._body = bullet.loadURDF(str(urdf), useFixedBase=True, flags=flags, physicsClientId=client)
        for link in range(-1, bullet.getNumJoints(self._body, physicsClientId=client)):
            # Joint damping is the URDF's business: the other two damp every link by 4 % a second.
            bullet.changeDynamics(self._body, link, linearDamping=0.0, angularDamping=0.0, physicsClientId=client)
            if link >= 0:
                bullet.setJointMotorControl2(
                    self._body, link, bullet.VELOCITY_CONTROL, force=0.0, physicsClientId=client
                )

    def _names(self) -> tuple[dict[str, int], dict[str, int]]:
        """Numbers of the joints and of the links (a link has its joint's number) by name."""
        bullet, client = self._bullet, self._clients[0]
        count = bullet.getNumJoints(self._body, physicsClientId=client)
        rows = [bullet.getJointInfo(self._body, joint, physicsClientId=client) for joint in range(count)]
        joints = {row[1].decode(): joint for joint, row in enumerate(rows)}
        links = {row[12].decode(): joint for joint, row in enumerate(rows)}
        return joints, links

    @property
    def times_s(self) -> Array:
        """Simulated time since the reset: steps × the engine's own step. Shape=(num_robots,)."""
        steps_s = [
            self._bullet.getPhysicsEngineParameters(physicsClientId=client)["fixedTimeStep"] for client in self._clients
        ]
        return np.asarray(self._steps * np.array(steps_s), dtype=float)

    def reset(self, positions: Array, velocities: Array) -> None:
        """Put every copy into a state; see the protocol."""
        shape = (self.num_robots, len(self._joints))
        check_shape("positions", positions, shape)
        check_shape("velocities", velocities, shape)
        self._steps[:] = 0
        self._forces = {}
        for robot, client in enumerate(self._clients):
            for column, joint in enumerate(self._joints):
                self._bullet.resetJointState(
                    self._body,
                    joint,
                    float(positions[robot, column]),
                    float(velocities[robot, column]),
                    physicsClientId=client,
                )

    def advance(self, efforts: Array, num_substeps: int, active: Mask | None = None) -> None:
        """Advance by physics steps under constant efforts; see the protocol."""
        check_shape("efforts", efforts, (self.num_robots, len(self._actuators)))
        for robot in range(self.num_robots):
            if active is None or active[robot]:
                self._advance_one(robot, efforts[robot].tolist(), num_substeps)

    def _advance_one(self, robot: int, efforts: list[float], num_substeps: int) -> None:
        """Advance one copy; Bullet forgets efforts and forces after each step."""
        bullet, client, body = self._bullet, self._clients[robot], self._body
        for _ in range(num_substeps):
            bullet.setJointMotorControlArray(
                body, self._actuators, bullet.TORQUE_CONTROL, forces=efforts, physicsClientId=client
            )
            for link, forces in self._forces.items():
                self._push(client, link, forces[robot])
            bullet.stepSimulation(physicsClientId=client)
        self._steps[robot] += num_substeps

    def _push(self, client: int, link: int, force: Array) -> None:
        """Apply a world force at a link's centre of mass for the next physics step."""
        bullet, body = self._bullet, self._body
        centre = bullet.getLinkState(body, link, computeForwardKinematics=True, physicsClientId=client)[0]
        bullet.applyExternalForce(body, link, force.tolist(), centre, bullet.WORLD_FRAME, physicsClientId=client)

    def _states(self, entry: int) -> Array:
        """Entry 0 (position) or 1 (velocity) of all joints. Shape=(num_robots, num_joints)."""
        read = self._bullet.getJointStates
        return np.array(
            [
                [state[entry] for state in read(self._body, self._joints, physicsClientId=client)]
                for client in self._clients
            ]
        )

    def positions(self) -> Array:
        """Joint positions. Shape=(num_robots, num_joints)."""
        return self._states(0)

    def velocities(self) -> Array:
        """Joint velocities. Shape=(num_robots, num_joints)."""
        return self._states(1)

    def set_external_force(self, body: str, forces: Array) -> None:
        """Push at a body's centre of mass until changed; see the protocol."""
        check_shape("forces", forces, (self.num_robots, 3))
        link = _index(self._links, "body", body)
        if np.any(forces):
            self._forces[link] = forces.astype(float)
        else:
            self._forces.pop(link, None)

    def camera_image(
        self,
        width: int,
        height: int,
        *,
        eye: tuple[float, float, float],
        target: tuple[float, float, float],
        field_of_view_degrees: float,
    ) -> npt.NDArray[np.uint8]:
        """A picture of the first copy by Bullet's software renderer. Shape=(height, width, 3)."""
        bullet = self._bullet
        pixels = bullet.getCameraImage(
            width,
            height,
            viewMatrix=bullet.computeViewMatrix(eye, target, (0.0, 0.0, 1.0)),
            projectionMatrix=bullet.computeProjectionMatrixFOV(field_of_view_degrees, width / height, 0.1, 30.0),
            lightDirection=(-2.0, -4.0, 6.0),
            shadow=1,
            renderer=bullet.ER_TINY_RENDERER,
            physicsClientId=self._clients[0],
        )[2]
        return np.asarray(pixels, dtype=np.uint8).reshape(height, width, 4)[:, :, :3]

    def close(self) -> None:
        """Disconnect all physics clients; may be called twice."""
        for client in self._clients:
            self._bullet.disconnect(physicsClientId=client)
        self._clients = []


def _without_stops(urdf: str) -> str:
    """The description without the limits of its joints' positions, which MuJoCo's does not have either."""
    robot = ElementTree.fromstring(urdf)
    for limit in robot.findall("joint/limit"):
        for end in ("lower", "upper"):
            limit.attrib.pop(end, None)
    return ElementTree.tostring(robot, encoding="unicode")


def _index(known: dict[str, int], word: str, name: str) -> int:
    """The number behind a name, or a ConfigurationError."""
    if name not in known:
        raise ConfigurationError(f"{word} '{name}' is not in the URDF; known: {', '.join(known)}")
    return known[name]
