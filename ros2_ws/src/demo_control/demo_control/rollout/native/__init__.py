"""Rollouts by a kernel of our own, compiled at installation: for graphs of layers and elementwise operations.

No torch and no rclpy here.
"""

from demo_control.rollout.native.engine import NativeEngine
from demo_control.rollout.native.graph import UnsupportedGraphError
from demo_control.rollout.native.library import KernelError, load_kernel

__all__ = ["KernelError", "NativeEngine", "UnsupportedGraphError", "load_kernel"]
