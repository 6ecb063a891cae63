"""Dynamixel servos of the X series, protocol 2.0: frames, control table, bus, and emulated servos."""
