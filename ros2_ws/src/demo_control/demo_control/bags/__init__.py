"""Recordings: written while a robot runs, looked at, mended, and answered again by the layer's own code.

A bag is a rosbag2 folder with MCAP files. Nothing here imports rclpy: recordings are read where no ROS 2 is installed.
"""
