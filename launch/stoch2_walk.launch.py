"""Stoch2 walks: driver, policy and DeMo Layer; `ros2 launch demo_control stoch2_walk.launch.py`."""

from demo_control.bringup.ros_launch import launch_description
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The bring-up that stoch2_sim describes, for `ros2 launch`."""
    return launch_description("stoch2_walk")
