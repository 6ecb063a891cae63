"""Bring-up: which nodes, parameters and remappings, described once and started in two ways.

`ros_launch` turns a description into a LaunchDescription for `ros2 launch`; `supervisor` starts the same nodes where
launch is not installed.
"""
