"""Policies π_θ as the robot runs them: linear ones as ONNX graphs, and any ONNX policy behind one call.

No torch and no rclpy here.
"""

from demo_control.policies.linear import linear_policy_model
from demo_control.policies.onnx_policy import OnnxPolicy

__all__ = ["OnnxPolicy", "linear_policy_model"]
