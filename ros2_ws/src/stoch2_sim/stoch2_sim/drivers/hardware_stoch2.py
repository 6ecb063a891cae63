"""The real Stoch2 behind the driver: twelve servos and an attitude unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.drivers.core import DriverCore
from demo_control.drivers.hardware_robot import HardwareRobot
from demo_control.drivers.hardware_settings import HardwareSettings
from demo_control.drivers.limits import Limits
from demo_control.drivers.safety import Safety
from demo_control.drivers.walking import Request, Walking
from demo_control.hardware.bus import Bus, Reading
from demo_control.hardware.wiring import Wiring
from demo_control.tasks import Array
from stoch2_sim.drivers.stoch2_motion import PERIOD_NS, MovedStoch2, Stoch2Motion, Stoch2Setup, tread
from stoch2_sim.robots.stoch2.attitude import euler_angles
from stoch2_sim.robots.stoch2.gait import NUM_ACTIONS
from stoch2_sim.robots.stoch2.geometry import CONTROL_PERIOD_S, JOINT_NAMES, NUM_JOINTS, NUM_LEGS
from stoch2_sim.robots.stoch2.plants import PITCH_LIMIT_RAD, ROLL_LIMIT_RAD
from stoch2_sim.robots.stoch2.simulation import Sensors

_SHAPE = (NUM_LEGS, NUM_JOINTS)


class HardwareStoch2(MovedStoch2, HardwareRobot):
    """A Stoch2 on a bus: idle on folded legs until it is armed.

    Args:
        setup: All settings; what concerns the simulation alone is not used.
        hardware: Of the hardware.
        wiring: Of the robot.
        bus: Instead of the wiring's own.

    Raises:
        ConfigurationError: The wiring does not fit, there is no IMU, or the bus cannot be connected.
    """

    def __init__(self, setup: Stoch2Setup, hardware: HardwareSettings, wiring: Wiring, bus: Bus | None = None) -> None:
        box = np.ones(NUM_ACTIONS)
        limits = Limits(-box, box, setup.driver.action_rate_limit_per_s * CONTROL_PERIOD_S * box)
        core = DriverCore(limits, tread, setup.driver.command_timeout_s, CONTROL_PERIOD_S)
        self._setup = setup
        super().__init__(core, wiring, JOINT_NAMES, hardware, PERIOD_NS, bus)
        if self.reading.imu is None:
            self.bus.disconnect()
            raise ConfigurationError(f"{wiring.path}: Stoch2 needs an IMU, for example a bus of kind vectornav")
        measures_forces = self.reading.contact_forces is not None
        # What is real is as late and as noisy as it is; a robot's driver adds nothing.
        sensing = replace(setup.sensing, ideal_sensing=False, latency_ms=0.0, foot_sensors=measures_forces)
        self._motion = Stoch2Motion(replace(setup, sensing=sensing))
        self._limits = limits
        self._action = tread(self._sensed)
        self._sensors = _sensors(self.reading)
        yaw = euler_angles(self._sensors.orientation)[:, 2]
        self._motion.start(np.zeros((1, 2)), yaw, self._sensors)
        self._sensed = self._observe(self.reading)

    @property
    def sensors(self) -> Sensors:
        """What the robot measures."""
        return self._sensors

    @property
    def joint_torques(self) -> Array:
        """Torques of the motors by their currents. Shape=(12,)."""
        return self.reading.efforts

    def ask(self, request: Request, who: str, *, outside: bool = True) -> str:
        """Ask the robot to do something else; see :meth:`Stoch2Motion.ask`."""
        if self.safety.state is not Safety.ARMED:
            return f"{request.value} refused: the robot is {self.safety.state.value} ({self.safety.reason})"
        refusal = self._motion.ask(request, who, self.core.state, self.time_s, outside=outside)
        if not refusal and request is Request.WALK:
            self._motion.restart_gait(self._sensors)
        return refusal

    def _begins(self) -> bool:
        # The run's time is that of the script, which begins with the first actions.
        return super()._begins() and self.safety.state is Safety.ARMED

    def _observe(self, reading: Reading) -> Array:
        self._sensors = _sensors(reading)
        self._motion.observe(self._sensors, self.time_s)
        state = self.control.state
        self._motion.add_up(state.position[0], float(state.angles[0, 2]))
        self._motion.watch_commands(self.core.state, self.time_s)
        self._let_time_pass()
        return self._motion.observation

    def _let_time_pass(self) -> None:
        """States that end by themselves, and the script."""
        self.machine.tick(self._clock_s)
        if self.safety.state is not Safety.ARMED or self.held:
            return
        request = self._motion.script_request(self.time_s)
        if request is not None:
            self.ask(request, "script", outside=False)

    def _wanted(self, state: Safety) -> Array:
        if state is Safety.STOPPING:
            self._come_down()
        measured = self._joints()
        if state is Safety.ENGAGING:
            # Legs without power may lie where no gait puts them: the way from there must not begin with a jump.
            return self.machine.targets(measured, measured).ravel()
        if state is Safety.ARMED:
            self._action = self.core.output.values
        else:
            # The core has let go of the action, and zero is a step of half the length, not none.
            self._action = self._limits.apply(tread(self._sensed), self._action[None])
        return self._motion.targets(self._action, measured).ravel()

    def _was_told(self, values: Array) -> None:
        # The estimation concludes from the way that the joints follow.
        self.control.hold(values.reshape(1, *_SHAPE))

    def _joints(self) -> Array:
        """Where the joints are. Shape=(4, 3)."""
        joints: Array = self._sensors.joint_positions[0]
        return joints

    def _come_down(self) -> None:
        """Stop walking, then sit down."""
        if self.machine.state is Walking.WALKING:
            self.machine.request(Request.STOP, self.safety.reason)
        elif self.machine.state in (Walking.STANDING, Walking.STANDING_UP):
            self.machine.request(Request.SIT_DOWN, self.safety.reason)

    def _braking(self, kind: str) -> Array:
        return self._joints().ravel() if kind == "damp" else self.guard.previous

    def _entered(self, state: Safety) -> None:
        if state is Safety.ENGAGING:
            self.machine.engage(self._joints(), self.wiring.safety.engage_s, self.safety.reason)
        elif state is Safety.FAULT:
            self.machine.damp(self.safety.reason)
            self.figures.failed = self.figures.failed or not self.held
        elif state is Safety.IDLE:
            self.machine.release(self.safety.reason)

    def _is_engaged(self) -> bool:
        return self.machine.state is Walking.SITTING

    def _is_stopped(self) -> bool:
        return self.machine.state is Walking.SITTING

    @property
    def _own_way_s(self) -> float:
        return self._setup.walking.longest_way_to_sitting_s

    def _problem(self, reading: Reading) -> str:
        roll, pitch, _ = self.control.state.angles[0].tolist()
        if not np.isfinite([roll, pitch]).all():
            return "the attitude is not a number"
        if abs(roll) > ROLL_LIMIT_RAD or abs(pitch) > PITCH_LIMIT_RAD:
            # A robot that is off may lie as it likes, but cannot be armed, or reset, as it lies.
            self.figures.fell = self.figures.fell or self.safety.is_active
            return "fell"
        return ""


def _sensors(reading: Reading) -> Sensors:
    """A reading as the batch of one that the estimation takes."""
    imu = reading.imu
    assert imu is not None
    forces = np.zeros(NUM_LEGS) if reading.contact_forces is None else reading.contact_forces
    return Sensors(
        joint_positions=reading.positions.reshape(1, *_SHAPE),
        joint_velocities=reading.velocities.reshape(1, *_SHAPE),
        orientation=imu.orientation[None],
        angular_velocity=imu.angular_velocity[None],
        linear_acceleration=imu.linear_acceleration[None],
        foot_forces=forces[None],
    )
