"""One Stoch2 on its ground in a physics client of PyBullet.

Where Bullet's defaults would differ from the MuJoCo description they are set here, and say why.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demo_control.configuration import ConfigurationError
from stoch2_sim.robots.stoch2 import geometry as g
from stoch2_sim.robots.stoch2.parameters import RobotParameters
from stoch2_sim.robots.stoch2.pybullet_description import simulation_description
from stoch2_sim.robots.stoch2.terrain import Plane, Rough, Stairs, make_terrain
from stoch2_sim.robots.stoch2.urdf import MOVABLE_JOINT_NAMES, passive_joint_positions
from stoch2_sim.simulators.protocol import Array

# Far more than the pins carry: beyond it Bullet would let go.
_PIN_FORCE_N = 2000.0
_GROUND_FRICTION = 1.0  # Bullet multiplies the friction of both bodies; the feet have the effective one


@dataclass(frozen=True)
class BulletPhysics:
    """How the physics is computed; benchmarks/stoch2_simulators.py shows what each of it does.

    Attributes:
        substeps: Physics steps in a control tick. The damping of the joint controller acts explicitly,
            step by step, and must not turn a link round in one step.
        rotor_inertia_kgm2: Inertia about the joint that thighs and cranks have in addition, as Bullet
            knows no rotors; a fifth of what MuJoCo's have, which hardly weighs in the inertia of the
            whole robot. Without it the torques alternate between their limits at steps of 0.2 ms.
        foot_stiffness_n_m: Of the feet where they touch the ground; with the damping as soft as MuJoCo's,
            whose time constant is 4 ms, for the half kilogram that comes down on a foot.
        foot_damping_n_s_m: Critical.
        solver_iterations: At most; Bullet stops earlier when nothing changes any more.
    """

    substeps: int = 25
    rotor_inertia_kgm2: float = 0.2 * g.ROTOR_INERTIA_KGM2
    foot_stiffness_n_m: float = 3e4
    foot_damping_n_s_m: float = 250.0
    solver_iterations: int = 20

    @property
    def step_s(self) -> float:
        """Length of a physics step."""
        return g.CONTROL_PERIOD_S / self.substeps


class PybulletWorld:
    """A physics client with one robot and its ground.

    Args:
        bullet: The module ``pybullet``.
        parameters: Of robot and ground.
        physics: How to compute it.

    Raises:
        ConfigurationError: PyBullet allows no more clients.
    """

    def __init__(
        self,
        bullet: Any,  # noqa: ANN401 - a module without stubs
        parameters: RobotParameters,
        physics: BulletPhysics,
    ) -> None:
        self._bullet = bullet
        self._physics = physics
        self._client = bullet.connect(bullet.DIRECT)
        if self._client < 0:
            raise ConfigurationError("simulator 'pybullet': PyBullet allows no more physics clients")
        self._urdf = simulation_description(parameters)
        self._friction = parameters.friction
        self.terrain = make_terrain(parameters)
        self.steps = 0
        self._stiffness = parameters.motor_strength * g.POSITION_GAIN
        self._damping = parameters.motor_strength * g.VELOCITY_GAIN
        self._limit_nm = parameters.torque_limit_nm
        self._robot = -1
        self._joints: list[int] = []
        self._motors: list[int] = []
        self._shanks: list[int] = []
        self._shank_of: dict[int, int] = {}
        self.torques: list[float] = [0.0] * len(g.JOINT_NAMES)
        self.foot_forces: Array = np.zeros(g.NUM_LEGS)

    @property
    def time_s(self) -> float:
        """Simulated time since the steps were last counted from zero: steps times the engine's own step."""
        step_s: float = self._bullet.getPhysicsEngineParameters(physicsClientId=self._client)["fixedTimeStep"]
        return self.steps * step_s

    def build(self, position: Array, orientation: Array, joints: Array) -> None:
        """Build ground and robot anew; Bullet remembers contacts, so only this starts equally each time.

        Args:
            position: Of the trunk's origin. Shape=(3,).
            orientation: Of the trunk (w, x, y, z). Shape=(4,).
            joints: Angles of the motors. Shape=(4, 3).
        """
        bullet, client, physics = self._bullet, self._client, self._physics
        bullet.resetSimulation(physicsClientId=client)
        bullet.setGravity(0.0, 0.0, -g.GRAVITY_MPS2, physicsClientId=client)
        bullet.setPhysicsEngineParameter(
            fixedTimeStep=physics.step_s,
            numSubSteps=0,
            numSolverIterations=physics.solver_iterations,
            deterministicOverlappingPairs=1,
            physicsClientId=client,
        )
        self._build_ground()
        self._load_robot()
        self._close_loops()
        self._place(position, orientation, joints)
        self.steps = 0

    def _build_ground(self) -> None:
        """The terrain's shapes."""
        if isinstance(self.terrain, Plane):
            self._add_ground((0.0, 0.0, 0.0), 0.0, shapeType="GEOM_PLANE", planeNormal=self.terrain.normal.tolist())
        elif isinstance(self.terrain, Stairs):
            for box in self.terrain.boxes():
                self._add_ground(box.centre_m, box.yaw_rad, shapeType="GEOM_BOX", halfExtents=box.half_sizes_m)
        else:
            self._add_height_field(self.terrain)

    def _add_height_field(self, terrain: Rough) -> None:
        """A height field with what lies beyond; Bullet puts its middle height at the body's origin."""
        heights = terrain.heights_m
        middle = 0.5 * float(heights.min() + heights.max())
        self._add_ground(
            (0.0, 0.0, middle),
            0.0,
            shapeType="GEOM_HEIGHTFIELD",
            meshScale=(terrain.cell_m, terrain.cell_m, 1.0),
            heightfieldData=heights.ravel().tolist(),
            numHeightfieldRows=heights.shape[1],
            numHeightfieldColumns=heights.shape[0],
        )
        self._add_ground((0.0, 0.0, terrain.beyond_m), 0.0, shapeType="GEOM_PLANE", planeNormal=[0.0, 0.0, 1.0])

    def _add_ground(self, centre_m: tuple[float, float, float], yaw_rad: float, **shape: Any) -> None:  # noqa: ANN401 - Bullet's
        """One immovable shape."""
        bullet, client = self._bullet, self._client
        shape["shapeType"] = getattr(bullet, shape["shapeType"])
        turn = (0.0, 0.0, math.sin(0.5 * yaw_rad), math.cos(0.5 * yaw_rad))
        ground = bullet.createMultiBody(
            0.0, bullet.createCollisionShape(**shape, physicsClientId=client), basePosition=centre_m,
            baseOrientation=turn, physicsClientId=client,
        )  # fmt: skip
        bullet.changeDynamics(ground, -1, lateralFriction=_GROUND_FRICTION, physicsClientId=client)

    def _load_robot(self) -> None:
        """The robot without Bullet's hidden damping and holding motors, inertias from the file."""
        bullet, client = self._bullet, self._client
        with tempfile.TemporaryDirectory(prefix="pybullet_") as folder:
            path = Path(folder) / "stoch2.urdf"
            path.write_text(self._urdf, encoding="utf-8")
            flags = bullet.URDF_USE_INERTIA_FROM_FILE
            self._robot = bullet.loadURDF(str(path), flags=flags, physicsClientId=client)
        count = bullet.getNumJoints(self._robot, physicsClientId=client)
        rows = [bullet.getJointInfo(self._robot, joint, physicsClientId=client) for joint in range(count)]
        numbers = {row[1].decode(): joint for joint, row in enumerate(rows)}
        self._joints = [numbers[name] for name in MOVABLE_JOINT_NAMES]
        self._motors = self._joints[: len(g.JOINT_NAMES)]
        self._shanks = [numbers[f"{leg}_elbow"] for leg in g.LEGS]
        for link in range(-1, count):
            bullet.changeDynamics(
                self._robot, link, linearDamping=0.0, angularDamping=0.0, jointDamping=0.0, lateralFriction=1.0,
                physicsClientId=client,
            )  # fmt: skip
        for shank in self._shanks:
            bullet.changeDynamics(
                self._robot, shank, lateralFriction=self._friction, physicsClientId=client,
                contactStiffness=self._physics.foot_stiffness_n_m, contactDamping=self._physics.foot_damping_n_s_m,
            )  # fmt: skip
        bullet.setJointMotorControlArray(
            self._robot, list(range(count)), bullet.VELOCITY_CONTROL, forces=[0.0] * count, physicsClientId=client
        )
        self._shank_of = {link: leg for leg, link in enumerate(self._shanks)}
        for index, link in enumerate(self._motors):
            if g.JOINTS[index % g.NUM_JOINTS] != "abduction":
                self._add_rotor(link)
        base = bullet.getDynamicsInfo(self._robot, -1, physicsClientId=client)
        # Bullet speaks of the base's centre of mass and principal axes; we of the trunk's origin and axes.
        self._origin = bullet.invertTransform(base[3], base[4])
        self.centre = np.array(base[3])

    def _add_rotor(self, link: int) -> None:
        """Give a thigh or crank more inertia about its joint; a file with such a link Bullet would not accept."""
        across, about, along = self._bullet.getDynamicsInfo(self._robot, link, physicsClientId=self._client)[2]
        self._bullet.changeDynamics(
            self._robot, link, localInertiaDiagonal=(across, about + self._physics.rotor_inertia_kgm2, along),
            physicsClientId=self._client,
        )  # fmt: skip

    def _close_loops(self) -> None:
        """Pin each coupler's end to its shank."""
        bullet, client = self._bullet, self._client
        bend = g.SHANK_BEND_RAD
        pin = (-g.SHANK_PIN_M * math.sin(bend), 0.0, -g.SHANK_PIN_M * math.cos(bend))
        couplers = self._joints[len(g.JOINT_NAMES) + 1 :: 2]
        for shank, coupler in zip(self._shanks, couplers, strict=True):
            constraint = bullet.createConstraint(
                self._robot, shank, self._robot, coupler, bullet.JOINT_POINT2POINT, (0.0, 0.0, 0.0),
                self._in_inertial_frame(shank, pin), self._in_inertial_frame(coupler, (0.0, 0.0, -g.COUPLER_M)),
                physicsClientId=client,
            )  # fmt: skip
            bullet.changeConstraint(constraint, maxForce=_PIN_FORCE_N, physicsClientId=client)

    def _in_inertial_frame(self, link: int, point: tuple[float, float, float]) -> Any:  # noqa: ANN401 - Bullet's tuple
        """A point of a link's frame in the frame of its centre of mass and principal axes, Bullet's own."""
        bullet = self._bullet
        information = bullet.getDynamicsInfo(self._robot, link, physicsClientId=self._client)
        inverse = bullet.invertTransform(information[3], information[4])
        return bullet.multiplyTransforms(*inverse, point, (0.0, 0.0, 0.0, 1.0))[0]

    def _place(self, position: Array, orientation: Array, joints: Array) -> None:
        """Put the robot somewhere, at rest, its linkages closed."""
        bullet, client = self._bullet, self._client
        w, x, y, z = orientation.tolist()
        information = bullet.getDynamicsInfo(self._robot, -1, physicsClientId=client)
        pose = bullet.multiplyTransforms(position.tolist(), (x, y, z, w), information[3], information[4])
        bullet.resetBasePositionAndOrientation(self._robot, *pose, physicsClientId=client)
        angles = np.concatenate([joints.ravel(), passive_joint_positions(joints).ravel()])
        for joint, angle in zip(self._joints, angles.tolist(), strict=True):
            bullet.resetJointState(self._robot, joint, angle, 0.0, physicsClientId=client)

    def advance(self, targets: list[float], force: tuple[float, float, float] | None) -> None:
        """One control tick: the joint controller acts at every physics step, as Bullet has no armature to damp it.

        Args:
            targets: Of the motors, leg by leg, radians.
            force: Push at the trunk's centre of mass, world axes, newtons; None for none.
        """
        bullet, client, robot, motors = self._bullet, self._client, self._robot, self._motors
        stiffness, damping, limit = self._stiffness, self._damping, self._limit_nm
        read, command, step = bullet.getJointStates, bullet.setJointMotorControlArray, bullet.stepSimulation
        torques: list[float] = []
        substeps = self._physics.substeps
        pressing_steps = (substeps + 1) // 2
        pressed = np.zeros(g.NUM_LEGS)
        for substep in range(substeps):
            states = read(robot, motors, physicsClientId=client)
            torques = [
                max(-limit, min(limit, stiffness * (target - state[0]) - damping * state[1]))
                for target, state in zip(targets, states, strict=True)
            ]
            command(robot, motors, bullet.TORQUE_CONTROL, forces=torques, physicsClientId=client)
            if force is not None:
                centre = bullet.getBasePositionAndOrientation(robot, physicsClientId=client)[0]
                bullet.applyExternalForce(robot, -1, force, centre, bullet.WORLD_FRAME, physicsClientId=client)
            step(physicsClientId=client)
            if substep >= substeps - pressing_steps:
                self._add_contact_forces(pressed)
        self.foot_forces = pressed / pressing_steps
        self.torques = torques
        self.steps += substeps

    def joint_states(self) -> Array:
        """Angles and rates of all movable joints, in the order of their names. Shape=(20, 2)."""
        states = self._bullet.getJointStates(self._robot, self._joints, physicsClientId=self._client)
        return np.array([state[:2] for state in states])

    def _add_contact_forces(self, forces: Array) -> None:
        """Add the normal forces on the feet in the last physics step. Shape=(4,)."""
        for contact in self._bullet.getContactPoints(self._robot, physicsClientId=self._client):
            leg = self._shank_of.get(contact[3])
            if leg is not None:
                forces[leg] += contact[9]

    def base_state(self) -> tuple[Array, Array, Array, Array]:
        """Position of the trunk's origin, orientation (w, x, y, z), velocity of the centre of mass, angular velocity.

        All in world axes; the velocity of the origin follows from the last two. Shapes (3,), (4,), (3,), (3,).
        """
        bullet, client = self._bullet, self._client
        pose = bullet.getBasePositionAndOrientation(self._robot, physicsClientId=client)
        position, (x, y, z, w) = bullet.multiplyTransforms(*pose, *self._origin)
        linear, angular = bullet.getBaseVelocity(self._robot, physicsClientId=client)
        return np.array(position), np.array([w, x, y, z]), np.array(linear), np.array(angular)

    def close(self) -> None:
        """Disconnect; may be called twice."""
        if self._client >= 0:
            self._bullet.disconnect(physicsClientId=self._client)
            self._client = -1
