"""The other side of a ros2_control bridge, emulated: joint_state_broadcaster, imu_sensor_broadcaster and a controller.

Like a forward_command_controller it keeps the last command for ever.
"""

from __future__ import annotations

from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray

from demo_control.hardware.emulation.plant import Drive, PlantState
from demo_control.hardware.ros2_control import Ros2ControlSettings
from demo_control.hardware.wiring import BusWiring
from demo_control.network import prepare_network

_PERIOD_S = 0.005
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Ros2ControlSide:
    """A node with the joints of one bus.

    Args:
        wiring: Of the bus.
        columns: The plant's column of each joint.
    """

    def __init__(self, wiring: BusWiring, columns: tuple[int, ...]) -> None:
        assert isinstance(wiring.settings, Ros2ControlSettings)
        settings = wiring.settings
        self.wired = tuple(zip(columns, wiring.joints, strict=True))
        self._command = settings.command
        prepare_network()
        self._context = Context()
        rclpy.init(context=self._context, args=[])
        self._node = rclpy.create_node("ros2_control_side", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._joints = self._node.create_publisher(JointState, settings.joint_states_topic, 10)
        self._imu = self._node.create_publisher(Imu, settings.imu_topic, 10) if settings.imu_topic else None
        self._values: list[float] | None = None
        if settings.command == "trajectory":
            from trajectory_msgs.msg import JointTrajectory  # noqa: PLC0415 - not everywhere

            self._node.create_subscription(JointTrajectory, settings.command_topic, self._on_trajectory, _NEWEST)
        elif settings.command != "none":
            self._node.create_subscription(Float64MultiArray, settings.command_topic, self._on_values, _NEWEST)
        self._due_s = 0.0
        self.received = 0

    def _on_values(self, message: Float64MultiArray) -> None:
        if len(message.data) == len(self.wired):
            self._values = list(message.data)
            self.received += 1

    def _on_trajectory(self, message: Any) -> None:  # noqa: ANN401 - see above
        by_name = dict(zip(message.joint_names, message.points[-1].positions, strict=True))
        self._values = [by_name[joint.remote_name] for _, joint in self.wired]
        self.received += 1

    def step(self, state: PlantState, now_s: float) -> None:
        """The plant has moved: tell of it at the broadcasters' rate, and hear of commands."""
        self._executor.spin_once(timeout_sec=0.0)
        if now_s < self._due_s:
            return
        self._due_s = max(self._due_s + _PERIOD_S, now_s - _PERIOD_S)
        message = JointState()
        message.header.stamp = self._node.get_clock().now().to_msg()
        for column, joint in self.wired:
            factor = joint.sign * joint.factor
            message.name.append(joint.remote_name)
            message.position.append(joint.angle(float(state.positions[column])))
            message.velocity.append(float(state.velocities[column]) / factor)
            message.effort.append(float(state.efforts[column]) * factor)
        self._joints.publish(message)
        if self._imu is not None and state.imu is not None:
            self._imu.publish(_imu(state, message.header))

    def drives(self) -> dict[int, Drive]:
        """What the controller does to the plant's joints, by column."""
        if self._values is None:
            return {}
        drives = {}
        for value, (column, joint) in zip(self._values, self.wired, strict=True):
            if self._command == "effort":
                drives[column] = Drive("effort", value / (joint.sign * joint.factor), joint.effort)
            else:
                drives[column] = Drive("position", joint.position(value), joint.effort)
        return drives

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


def _imu(state: PlantState, header: Any) -> Imu:  # noqa: ANN401 - std_msgs/Header
    """The IMU's message."""
    imu = state.imu
    assert imu is not None
    message = Imu(header=header)
    orientation, rate, acceleration = message.orientation, message.angular_velocity, message.linear_acceleration
    orientation.w, orientation.x, orientation.y, orientation.z = imu.orientation.tolist()
    rate.x, rate.y, rate.z = imu.angular_velocity.tolist()
    acceleration.x, acceleration.y, acceleration.z = imu.linear_acceleration.tolist()
    return message
