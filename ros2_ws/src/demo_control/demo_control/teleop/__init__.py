"""Keyboard driving of any robot that listens to ``cmd_vel``: keys, what they mean, and the ROS side."""
