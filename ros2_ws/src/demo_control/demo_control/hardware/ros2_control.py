"""A robot that has a ros2_control stack already: joint states and IMU come as topics, commands go as topics.

On the other side are joint_state_broadcaster, imu_sensor_broadcaster, and a controller that takes commands:
joint_trajectory_controller, or a forward_command_controller for positions or efforts.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray

from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.hardware.bus import BusDescription, BusError, ImuReading, JointDescription, Reading, is_plausible
from demo_control.hardware.wiring import BusKind, BusWiring
from demo_control.network import prepare_network
from demo_control.security.environment import refuse_secured
from demo_control.tasks import Array

_COMMANDS = {"trajectory": "position", "position": "position", "effort": "effort", "none": "none"}
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_CONNECT_LIMIT_S = 10.0
# Messages taken in one reading: a flood must not hold up the control period.
_LARGEST_BUNCH = 16
_LARGEST_VELOCITY, _LARGEST_POSITION = 1e3, 1e5
"""Of a joint, per second and from its zero; one that turns for ever may count on."""


@dataclass(frozen=True)
class Ros2ControlSettings(Settings):
    """The topics of the other side."""

    joint_states_topic: str = setting("joint_states", "sensor_msgs/JointState of joint_state_broadcaster")
    imu_topic: str = setting("", "sensor_msgs/Imu of imu_sensor_broadcaster, axes x forward, z up; empty for none")
    command: str = setting(
        "position",
        "What the controller takes: trajectory (trajectory_msgs/JointTrajectory), position or effort "
        "(std_msgs/Float64MultiArray), or none for joints that are only measured",
        choices=_COMMANDS,
    )
    command_topic: str = setting("forward_command_controller/commands", "Where the controller listens")
    trajectory_ms: float = setting(
        10.0, "With command trajectory: when each point is to be reached", minimum=1.0, maximum=1000.0
    )


class Ros2ControlBus:
    """Joints behind a ros2_control stack; see :class:`~demo_control.hardware.bus.Bus`.

    In a driver's process it shares the driver's ROS; where nobody has begun it, as in the commands that look at a robot
    before it runs, the bus begins and ends its own. What switches the actuators on is the other side's business; here,
    being off is to command nothing (with efforts, zero once).

    Args:
        wiring: Of the bus.

    Raises:
        ConfigurationError: Trajectories without trajectory_msgs.
    """

    def __init__(self, wiring: BusWiring) -> None:
        assert isinstance(wiring.settings, Ros2ControlSettings)
        self._settings = wiring.settings
        self._name = wiring.name
        self._joints = wiring.joints
        self._command = _COMMANDS[self._settings.command]
        self._message_type = _message_type(self._settings.command)
        count = len(wiring.joints)
        self._signed_factor = np.array([joint.sign * joint.factor for joint in wiring.joints])
        self._offsets = np.array([joint.offset_rad for joint in wiring.joints])
        self._remote = [joint.remote_name for joint in wiring.joints]
        self._raw = np.zeros((count, 3))
        self._heard_s = np.full(count, -math.inf)
        self._imu: tuple[Array, Array, Array] | None = None
        self._imu_s = -math.inf
        self._counts: Counter[str] = Counter()
        self._own_context: Context | None = None
        self._node: Any = None
        self._executor: Any = None
        self._publisher: Any = None

    def describe(self) -> BusDescription:
        """The joints and topics."""
        settings = self._settings
        joints = tuple(
            JointDescription(joint.name, self._command, joint.unit, f"ros2_control {joint.remote_name}")
            for joint in self._joints
        )
        note = f"{self._name}: {settings.joint_states_topic} in, {settings.command} to {settings.command_topic} out"
        return BusDescription(joints, has_imu=bool(settings.imu_topic), notes=(note,))

    def connect(self) -> None:
        """Join the ROS graph and wait until all joints, the IMU and the controller are there.

        Raises:
            BusError: They are not.
            ConfigurationError: ROS cannot be begun as the environment wants it.
        """
        settings = self._settings
        if not rclpy.ok():
            self._begin_ros()
        context = self._own_context
        self._node = rclpy.create_node(f"{self._name}_bridge", context=context, use_global_arguments=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._node.create_subscription(JointState, settings.joint_states_topic, self._on_joints, _NEWEST)
        if settings.imu_topic:
            self._node.create_subscription(Imu, settings.imu_topic, self._on_imu, _NEWEST)
        if self._message_type is not None:
            self._publisher = self._node.create_publisher(self._message_type, settings.command_topic, 1)
        deadline_s = time.monotonic() + _CONNECT_LIMIT_S
        while missing := self._missing():
            self._executor.spin_once(timeout_sec=0.05)
            if time.monotonic() > deadline_s:
                self.disconnect()
                raise BusError(f"{self._name}: {missing}")

    def _begin_ros(self) -> None:
        """Begin ROS for this bus alone, with a context of its own: it leaves signal handlers alone."""
        refuse_secured("who looks at a ros2_control stack without its driver")
        prepare_network()
        self._own_context = Context()
        rclpy.init(context=self._own_context, args=[])

    def _missing(self) -> str:
        """What has not been heard of, or ''."""
        silent = [name for name, heard in zip(self._remote, self._heard_s, strict=True) if not math.isfinite(heard)]
        if silent:
            return f"{self._settings.joint_states_topic} does not tell of joint {silent[0]}"
        if self._settings.imu_topic and self._imu is None:
            return f"nothing comes on {self._settings.imu_topic}"
        if self._publisher is not None and not self._publisher.get_subscription_count():
            return f"no controller listens to {self._settings.command_topic}"
        return ""

    def _on_joints(self, message: JointState) -> None:
        """Take over what the message tells of our joints, if a joint can do that."""
        places = {name: place for place, name in enumerate(message.name)}
        now_s = time.monotonic()
        for index, name in enumerate(self._remote):
            place = places.get(name)
            if place is None:
                continue
            columns = (message.effort, message.velocity, message.position)
            values = [column[place] if place < len(column) else math.nan for column in columns]
            effort, velocity, position = values
            # Written so that what is not a number fails.
            if not (abs(velocity) < _LARGEST_VELOCITY and abs(position) < _LARGEST_POSITION):
                self._counts["implausible"] += 1
                continue
            self._raw[index] = (effort if math.isfinite(effort) else 0.0), velocity, position
            self._heard_s[index] = now_s
        self._counts["joint_states"] += 1

    def _on_imu(self, message: Imu) -> None:
        orientation, rate, acceleration = (
            message.orientation,
            message.angular_velocity,
            message.linear_acceleration,
        )
        quaternion = np.array([orientation.w, orientation.x, orientation.y, orientation.z])
        vectors = [np.array([vector.x, vector.y, vector.z]) for vector in (rate, acceleration)]
        if not is_plausible(quaternion, *vectors):
            self._counts["implausible"] += 1
            return
        self._imu = quaternion, vectors[0], vectors[1]
        self._imu_s = time.monotonic()
        self._counts["imu"] += 1

    def read(self) -> Reading:
        """Take what has come.

        Raises:
            BusError: Not connected.
        """
        if self._executor is None:
            raise BusError(f"{self._name}: not connected")
        before = -1
        for _ in range(_LARGEST_BUNCH):
            if before == (before := sum(self._counts.values())):
                break
            self._executor.spin_once(timeout_sec=0.0)
        now_s = time.monotonic()
        imu = None if self._imu is None else ImuReading(*self._imu, now_s - self._imu_s)
        return Reading(
            self._signed_factor * (self._raw[:, 2] - self._offsets),
            self._signed_factor * self._raw[:, 1],
            self._raw[:, 0] / self._signed_factor,
            now_s - self._heard_s,
            imu,
        )

    def write(self, values: Array) -> Array:
        """Publish a command.

        Raises:
            BusError: Not connected.
        """
        if self._command == "none":
            return np.zeros(0)
        if self._publisher is None:
            raise BusError(f"{self._name}: not connected")
        if self._command == "effort":
            remote = values * self._signed_factor
        else:
            remote = self._offsets + values / self._signed_factor
        self._publish(remote)
        return values

    def _publish(self, remote: Array) -> None:
        """Send values in the other side's units."""
        if self._settings.command != "trajectory":
            self._publisher.publish(Float64MultiArray(data=remote.tolist()))
            return
        from trajectory_msgs.msg import JointTrajectoryPoint  # noqa: PLC0415 - see _message_type

        reached = Duration(sec=0, nanosec=round(1e6 * self._settings.trajectory_ms) % 1_000_000_000)
        reached.sec = int(1e-3 * self._settings.trajectory_ms)
        point = JointTrajectoryPoint(positions=remote.tolist(), time_from_start=reached)
        self._publisher.publish(self._message_type(joint_names=self._remote, points=[point]))

    def stop(self) -> None:
        """Efforts: zero. Positions: nothing more, so that the controller holds the last."""
        if self._publisher is not None and self._command == "effort":
            self._publish(np.zeros(len(self._joints)))

    def disconnect(self) -> None:
        """Stop, and leave the ROS graph."""
        self.stop()
        if self._executor is not None:
            self._executor.shutdown()
        if self._node is not None:
            self._node.destroy_node()
        if self._own_context is not None:
            self._own_context.try_shutdown()
        self._node = self._executor = self._publisher = self._own_context = None

    def counters(self) -> Mapping[str, object]:
        """Messages by fate."""
        return {f"{self._name}.{name}": self._counts[name] for name in ("joint_states", "imu", "implausible")}


def _message_type(command: str) -> Any:  # noqa: ANN401 - a message class; rclpy has no types
    """What is published, or None.

    Raises:
        ConfigurationError: Trajectories without trajectory_msgs, which is not among the packages from PyPI here.
    """
    if command == "none":
        return None
    if command != "trajectory":
        return Float64MultiArray
    try:
        from trajectory_msgs.msg import JointTrajectory  # noqa: PLC0415 - a ROS distribution has it
    except ImportError:
        raise ConfigurationError("command = trajectory needs the ROS package trajectory_msgs") from None
    return JointTrajectory


KIND = BusKind(Ros2ControlSettings, Ros2ControlBus)
