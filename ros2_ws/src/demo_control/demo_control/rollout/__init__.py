"""Who evaluates control sequences: ONNX Runtime on one composed graph, or a NumPy model (tests, oracles).

No torch and no rclpy here.
"""

from demo_control.rollout.composition import ROLLOUT_OUTPUTS, compose_rollout
from demo_control.rollout.engine import RolloutEngine, Rollouts, RolloutShape
from demo_control.rollout.native import NativeEngine
from demo_control.rollout.numpy_engine import NumpyEngine
from demo_control.rollout.onnx_engine import OnnxEngine

__all__ = [
    "ROLLOUT_OUTPUTS",
    "NativeEngine",
    "NumpyEngine",
    "OnnxEngine",
    "RolloutEngine",
    "RolloutShape",
    "Rollouts",
    "compose_rollout",
]
