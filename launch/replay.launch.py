"""A recording, played to live nodes; `ros2 launch demo_control replay.launch.py bag:=DIR`."""

from demo_control.bringup.ros_launch import launch_description
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The bring-up that demo_control describes, for `ros2 launch`."""
    return launch_description("replay")
