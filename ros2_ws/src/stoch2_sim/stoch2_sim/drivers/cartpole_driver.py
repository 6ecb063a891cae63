"""cartpole_driver: drives a cart-pole: a simulated one, in real time, faster, or in lockstep; or a real one.

Publishes ``joint_states`` besides the topics of :mod:`demo_control.drivers.driver_node`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from sensor_msgs.msg import JointState

from demo_control.drivers.driver_node import DriverNode
from demo_control.drivers.driver_process import run_driver
from demo_control.drivers.hardware_settings import HardwareSettings
from demo_control.nodes.quality import CONTROL_PUBLISHER
from demo_control.tasks import Array
from stoch2_sim.cartpole import task as cartpole_task
from stoch2_sim.drivers.cartpole_settings import CartpoleDriverSettings
from stoch2_sim.drivers.hardware_cartpole import HardwareCartpole
from stoch2_sim.drivers.simulated_cartpole import SimulatedCartpole
from stoch2_sim.robots.cartpole.model import JOINTS, robot_model
from stoch2_sim.robots.cartpole.parameters import PlantSettings
from stoch2_sim.robots.cartpole.score import SwingUpScore


class CartpoleDriver(DriverNode[SimulatedCartpole | HardwareCartpole]):
    """The driver node.

    Raises:
        ConfigurationError: A bad parameter or wiring, the simulator is missing, or the robot cannot be connected.
    """

    def __init__(self) -> None:
        super().__init__("cartpole_driver")
        settings = self.parameters.declare(CartpoleDriverSettings()).value
        plant = self.parameters.declare(PlantSettings()).value
        hardware = self.parameters.declare(HardwareSettings()).value
        self.parameters.check()
        self._score = SwingUpScore()
        robot = _robot(settings, plant, hardware)
        self.drive(settings, robot, robot_model(plant.parameters()).urdf)
        self._joints = self.publisher(JointState, "joint_states", CONTROL_PUBLISHER)
        where = "on hardware" if hardware.wiring else f"in {settings.simulator}"
        self.get_logger().info(f"cart-pole {where} holds its start, waiting for a command")

    def judge(self, before: Array | None) -> None:
        """Take in the true state after a control period."""
        if before is not None:
            self._score.update(0.0, before, failed=False)
        failed = bool(self.robot.failure)
        self._score.update(self.robot.time_s, self.robot.true_observation(), failed=failed)

    def figures(self) -> Mapping[str, float | bool | None]:
        """The swing-up's verdict."""
        return self._score.result()

    def told_result(self) -> str:
        """The share of the last 10 s that the pole was upright."""
        return f"upright {self._score.result()['upright_fraction_last_10s']:.1%} of the last 10 s"

    def publish_sensors(self) -> None:
        """Publish the joint states."""
        positions, velocities = self.robot.joint_state()
        force = float(self.robot.core.output.values[0])
        message = JointState(
            name=list(JOINTS), position=positions.tolist(), velocity=velocities.tolist(), effort=[force, 0.0]
        )
        message.header.stamp = self.time_line.stamp(self.now_ns)
        self._joints.publish(message)


def _robot(
    settings: CartpoleDriverSettings, plant: PlantSettings, hardware: HardwareSettings
) -> SimulatedCartpole | HardwareCartpole:
    """The simulated or the real cart-pole."""
    task = cartpole_task()
    if not hardware.wiring:
        return SimulatedCartpole(task, settings, plant)
    settings.check_hardware()
    return HardwareCartpole(task, settings, hardware, hardware.load(task.name))


COMPONENT = CartpoleDriver


def main() -> int:
    """Run the driver; returns its exit code."""
    return run_driver(CartpoleDriver)


if __name__ == "__main__":
    sys.exit(main())
