"""What Stoch2's driver tells ROS of the robot: joints, IMU, odometry, contacts, and where it really is.

Messages are made once and filled anew; a message that nobody listens to is not filled. The covariances are rough
standard deviations: those of the simulated sensors, and for the odometry what it is seen to be off.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from demo_msgs.msg import FootContacts
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Imu, JointState

from demo_control.drivers.driver_node import DriverNode
from demo_control.nodes.quality import CONTROL_PUBLISHER, RECORDING
from demo_control.tasks import Array
from stoch2_sim.drivers.hardware_stoch2 import HardwareStoch2
from stoch2_sim.drivers.simulated_stoch2 import SimulatedStoch2
from stoch2_sim.robots.stoch2.attitude import heading_rotation, quaternions
from stoch2_sim.robots.stoch2.episode import SensingParameters
from stoch2_sim.robots.stoch2.geometry import LEGS
from stoch2_sim.robots.stoch2.rotations import rotation_matrices
from stoch2_sim.robots.stoch2.urdf import MOVABLE_JOINT_NAMES, PASSIVE_JOINT_NAMES, passive_joint_positions

WORLD_FRAME, ODOMETRY_FRAME, BASE_FRAME, IMU_FRAME = "world", "odom", "base_link", "imu_link"

# Exact sensors do not exist; 0 would mean "unknown" to ROS.
_SMALLEST_DEVIATION = 1e-3
_SPEED_DEVIATION_M_S = 0.03
_POSITION_DEVIATION_M, _POSITION_DRIFT = 0.01, 0.03
_POSE_DIM = 6
_DIFFERENCE_S = 1e-4


class _Topic(NamedTuple):
    """A publisher and what fills its message."""

    publisher: Any
    message: Any
    fill: Callable[[Time], None]


class Stoch2Topics:
    """The robot's sensor topics.

    Args:
        node: Publishes.
        robot: The robot.
        sensing: Its sensors' noise.
    """

    def __init__(
        self, node: DriverNode[Any], robot: SimulatedStoch2 | HardwareStoch2, sensing: SensingParameters
    ) -> None:
        self._robot = robot
        self._joints = JointState(name=list(MOVABLE_JOINT_NAMES))
        self._imu = _imu_message(sensing)
        self._odometry = _odometry_message(ODOMETRY_FRAME)
        self._contacts = FootContacts(names=[f"{leg}_foot" for leg in LEGS], normal_force=[math.nan] * len(LEGS))
        self._measures_forces = sensing.foot_sensors
        self._truth = _odometry_message(WORLD_FRAME)
        messages: list[tuple[str, Any, Callable[[Time], None], QoSProfile]] = [
            ("joint_states", self._joints, self._fill_joints, CONTROL_PUBLISHER),
            ("imu", self._imu, self._fill_imu, CONTROL_PUBLISHER),
            ("odom", self._odometry, self._fill_odometry, CONTROL_PUBLISHER),
            ("contacts", self._contacts, self._fill_contacts, CONTROL_PUBLISHER),
        ]
        if isinstance(robot, SimulatedStoch2):
            messages.append(("ground_truth_odom", self._truth, self._fill_truth, RECORDING))
        self._topics = [
            _Topic(node.publisher(type(message), name, quality), message, fill)
            for name, message, fill, quality in messages
        ]
        transform = _transform_topic(node, self._odometry, self._fill_odometry)
        if transform is not None:
            self._topics.append(transform)

    def publish(self, stamp: Time) -> None:
        """Publish what somebody listens to, all with one stamp."""
        for topic in self._topics:
            if topic.publisher.get_subscription_count():
                topic.fill(stamp)
                topic.publisher.publish(topic.message)

    def _fill_joints(self, stamp: Time) -> None:
        sensors = self._robot.sensors
        positions, velocities = sensors.joint_positions[0], sensors.joint_velocities[0]
        # The joints without motors have no encoders: where the linkage puts them, and how fast it moves them.
        passive = passive_joint_positions(np.stack([positions, positions - _DIFFERENCE_S * velocities]))
        rates = (passive[0] - passive[1]) / _DIFFERENCE_S
        torques = self._robot.joint_torques
        message = self._joints
        message.header.stamp = stamp
        message.position = _doubles(np.concatenate([positions.ravel(), passive[0].ravel()]))
        message.velocity = _doubles(np.concatenate([velocities.ravel(), rates.ravel()]))
        message.effort = _doubles(np.concatenate([torques, np.zeros(len(PASSIVE_JOINT_NAMES))]))

    def _fill_imu(self, stamp: Time) -> None:
        sensors, message = self._robot.sensors, self._imu
        message.header.stamp = stamp
        _set_quaternion(message.orientation, sensors.orientation[0])
        _set_vector(message.angular_velocity, sensors.angular_velocity[0])
        _set_vector(message.linear_acceleration, sensors.linear_acceleration[0])

    def _fill_odometry(self, stamp: Time) -> None:
        state, message = self._robot.control.state, self._odometry
        message.header.stamp = stamp
        # The height is that over the ground's plane: an absolute one cannot be measured.
        _set_vector(message.pose.pose.position, np.append(state.position[0], state.height[0]))
        _set_quaternion(message.pose.pose.orientation, quaternions(state.angles)[0])
        _set_vector(message.twist.twist.linear, state.velocity[0] @ heading_rotation(state.angles)[0])
        _set_vector(message.twist.twist.angular, state.angular_velocity[0])
        drift = _POSITION_DEVIATION_M + _POSITION_DRIFT * float(np.hypot(*state.position[0]))
        message.pose.covariance[0] = message.pose.covariance[_POSE_DIM + 1] = drift**2

    def _fill_contacts(self, stamp: Time) -> None:
        message = self._contacts
        message.header.stamp = stamp
        message.in_contact = self._robot.control.standing[0].tolist()
        if self._measures_forces:
            message.normal_force = _doubles(self._robot.sensors.foot_forces[0])

    def _fill_truth(self, stamp: Time) -> None:
        assert isinstance(self._robot, SimulatedStoch2)
        truth, message = self._robot.truth, self._truth
        message.header.stamp = stamp
        _set_vector(message.pose.pose.position, truth.position[0])
        _set_quaternion(message.pose.pose.orientation, truth.orientation[0])
        _set_vector(message.twist.twist.linear, truth.linear_velocity[0] @ rotation_matrices(truth.orientation)[0])
        _set_vector(message.twist.twist.angular, truth.angular_velocity[0])


def _transform_topic(node: DriverNode[Any], odometry: Odometry, fill_odometry: Callable[[Time], None]) -> _Topic | None:
    """Odometry as the transform from odom to base_link; None where tf2 is not installed (it is not on PyPI)."""
    try:
        from tf2_msgs.msg import TFMessage  # noqa: PLC0415
    except ImportError:
        return None
    transform = TransformStamped(child_frame_id=BASE_FRAME)
    transform.header.frame_id = ODOMETRY_FRAME

    def fill(stamp: Time) -> None:
        fill_odometry(stamp)
        position, moved = odometry.pose.pose.position, transform.transform.translation
        transform.header.stamp = stamp
        moved.x, moved.y, moved.z = position.x, position.y, position.z
        transform.transform.rotation = odometry.pose.pose.orientation

    return _Topic(node.publisher(TFMessage, "/tf", 100), TFMessage(transforms=[transform]), fill)


def _imu_message(sensing: SensingParameters) -> Imu:
    message = Imu()
    message.header.frame_id = IMU_FRAME
    for name, deviation in (
        ("orientation", sensing.imu_noise_rad),
        ("angular_velocity", sensing.gyroscope_noise_rad_s),
        ("linear_acceleration", sensing.accelerometer_noise_m_s2),
    ):
        covariance = np.eye(3) * max(deviation, _SMALLEST_DEVIATION) ** 2
        setattr(message, f"{name}_covariance", covariance.ravel())
    return message


def _odometry_message(frame: str) -> Odometry:
    message = Odometry(child_frame_id=BASE_FRAME)
    message.header.frame_id = frame
    exact = frame == WORLD_FRAME
    speed, position = (_SMALLEST_DEVIATION,) * 2 if exact else (_SPEED_DEVIATION_M_S, _POSITION_DEVIATION_M)
    message.pose.covariance = np.diag([position**2] * 3 + [_SMALLEST_DEVIATION**2] * 3).ravel()
    message.twist.covariance = np.diag([speed**2] * 3 + [_SMALLEST_DEVIATION**2] * 3).ravel()
    return message


def _doubles(values: Array) -> array[float]:
    """For a sequence field; rclpy checks each element of anything else."""
    return array("d", values.tobytes())


def _set_vector(message: Any, values: Array) -> None:  # noqa: ANN401 - any message with x, y and z
    message.x, message.y, message.z = values.tolist()


def _set_quaternion(message: Any, values: Array) -> None:  # noqa: ANN401 - geometry_msgs/Quaternion
    message.w, message.x, message.y, message.z = values.tolist()
