"""Real robots: buses to their devices, their wiring as one YAML file, and emulators that speak the same bytes.

Knows no robot; only ``ros2_control.py`` imports rclpy.
"""
