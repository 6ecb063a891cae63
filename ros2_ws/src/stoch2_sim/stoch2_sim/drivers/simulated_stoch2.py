"""The simulated Stoch2 behind the driver: physics, sensors with noise, pushes, and the truth."""

from __future__ import annotations

import numpy as np

from demo_control.drivers.core import DriverCore, DriverState
from demo_control.drivers.limits import Limits
from demo_control.drivers.simulated_robot import SimulatedRobot, make_wire
from demo_control.drivers.walking import Request, Walking
from demo_control.tasks import Array
from stoch2_sim.drivers.simulated_stoch2_bus import SimulatedStoch2Bus
from stoch2_sim.drivers.stoch2_motion import PERIOD_NS, MovedStoch2, Stoch2Motion, Stoch2Setup, tread
from stoch2_sim.drivers.stoch2_script import Pushes
from stoch2_sim.robots.stoch2.attitude import turned
from stoch2_sim.robots.stoch2.control import Ideal
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S
from stoch2_sim.robots.stoch2.ground import Ground
from stoch2_sim.robots.stoch2.observation import BodyState, ObservationBuilder
from stoch2_sim.robots.stoch2.plants import HEIGHT_MAXIMUM_M, HEIGHT_MINIMUM_M, PITCH_LIMIT_RAD, ROLL_LIMIT_RAD
from stoch2_sim.robots.stoch2.reference import WITHOUT_LEASH
from stoch2_sim.robots.stoch2.simulation import Sensors, Truth


class SimulatedStoch2(MovedStoch2, SimulatedRobot):
    """A Stoch2 that sits, held at its start until the first valid action or accepted request.

    Args:
        setup: All settings.

    Raises:
        ConfigurationError: The simulator is missing.
    """

    def __init__(self, setup: Stoch2Setup) -> None:
        seeds = np.random.SeedSequence(setup.driver.seed).spawn(3)
        noise, wire, pushes = (np.random.default_rng(seed) for seed in seeds)
        box = np.ones(NUM_ACTIONS)
        limits = Limits(-box, box, setup.driver.action_rate_limit_per_s * CONTROL_PERIOD_S * box)
        core = DriverCore(limits, tread, setup.driver.command_timeout_s, CONTROL_PERIOD_S)
        super().__init__(core, make_wire(wire, setup.driver), PERIOD_NS, substeps=1)
        self.bus = SimulatedStoch2Bus(setup.driver.simulator, setup.robot, setup.sensing, noise)
        self._ground = Ground([setup.robot])
        self._motion = Stoch2Motion(setup)
        self._truly = ObservationBuilder(1, WITHOUT_LEASH)
        self._ideal = np.array([setup.sensing.ideal_sensing])
        self.pushes = Pushes(setup.driver, pushes)
        self._force = np.zeros((1, 3))
        self.push_n: Array = np.zeros(3)
        """The push in the last control period, heading frame. Shape=(3,)."""
        self.bus.connect()
        self._look()
        self._motion.start(self.state.position, self.state.angles[:, 2], self.sensors)
        self._truly.reset(self.state.position, self.state.angles[:, 2])
        self._observe()

    @property
    def held(self) -> bool:
        """Whether the plant is held at its start."""
        return self.core.state is DriverState.WAITING and self.machine.state is Walking.SITTING

    @property
    def frozen(self) -> bool:
        """Never: a robot that fell lies on the ground and gives way."""
        return False

    @property
    def truth(self) -> Truth:
        """The true state."""
        return self._truth

    @property
    def state(self) -> BodyState:
        """The true state as observations tell it."""
        return self._state

    @property
    def sensors(self) -> Sensors:
        """What the robot measures, noise included."""
        return self._sensors

    @property
    def joint_torques(self) -> Array:
        """Torques of the motors. Shape=(12,)."""
        torques: Array = self._truth.joint_torques[0].ravel()
        return torques

    def true_observation(self) -> Array:
        """The true state in the observation's coordinates, relative to an unleashed reference. Shape=(25,)."""
        return self._true_observation

    def ask(self, request: Request, who: str, *, outside: bool = True) -> str:
        """Ask the robot to do something else; see :meth:`Stoch2Motion.ask`."""
        refusal = self._motion.ask(request, who, self.core.state, self.time_s, outside=outside)
        if not refusal and request is Request.WALK:
            self._motion.restart_gait(self.sensors)
            self._truly.reset(self.state.position, self.state.angles[:, 2])
        return refusal

    def _read(self) -> Array:
        return self._motion.observation

    def _begin_period(self) -> None:
        time_s = self.time_s - CONTROL_PERIOD_S
        self.machine.tick(time_s)
        request = self._motion.script_request(time_s)
        if request is not None:
            self.ask(request, "script", outside=False)
        if self.machine.walks:
            self.pushes.follow_script(time_s - self._motion.walking_since_s, time_s)
        self._force[0] = self.push_n = self.pushes.force_n(time_s)
        self._force[:, :2] = turned(self._force[:, :2], self.state.angles[:, 2])

    def _advance(self, action: Array, substeps: int) -> None:
        if substeps:
            self.bus.write(self._motion.targets(action, self.sensors.joint_positions[0]).ravel())
            self.bus.advance(self._force)

    def _watch(self, now_ns: int) -> None:
        self._look()
        self._observe()
        self._motion.add_up(self._truth.position[0], float(self._state.angles[0, 2]))
        self._motion.watch_commands(self.core.state, self.time_s)
        problem = self._problem()
        if problem:
            self.machine.damp(problem)
            self.core.fault(problem, now_ns)

    def _look(self) -> None:
        """Read the true state and the sensors."""
        self._truth = self.bus.truth()
        self._state = self._ground.state(self._truth)
        self._sensors = self.bus.read_sensors()

    def _observe(self) -> None:
        """Estimate, and make the observations."""
        ideal = Ideal(self._ideal, self._state) if self._ideal[0] else None
        self._motion.observe(self._sensors, self.time_s, ideal)
        self._true_observation: Array = self._truly.build(self._state, self.control.phases, self.control.commands)[0]

    def _problem(self) -> str:
        """Why the robot cannot go on, or ''."""
        roll, pitch, _ = self.control.state.angles[0].tolist()
        height = float(self._state.height[0])
        if not np.isfinite([roll, pitch, height]).all():
            return "simulation_diverged"
        lies = not HEIGHT_MINIMUM_M <= height <= HEIGHT_MAXIMUM_M
        if abs(roll) > ROLL_LIMIT_RAD or abs(pitch) > PITCH_LIMIT_RAD or lies:
            self.figures.fell = True
            return "fell"
        return ""

    def close(self) -> None:
        """Release the simulator."""
        self.bus.disconnect()
