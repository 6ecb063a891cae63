"""Who evaluates control sequences: our own kernel, ONNX Runtime on one composed graph, or a NumPy model (tests).

No torch and no rclpy here.
"""

from demo_control.rollout.composition import ROLLOUT_OUTPUTS, compose_rollout
from demo_control.rollout.engine import RolloutEngine, Rollouts, RolloutShape
from demo_control.rollout.native import NativeEngine
from demo_control.rollout.numpy_engine import NumpyEngine
from demo_control.rollout.onnx_engine import OnnxEngine
from demo_control.rollout.selection import ENGINES, EngineChoice, choose_engine

__all__ = [
    "ENGINES",
    "ROLLOUT_OUTPUTS",
    "EngineChoice",
    "NativeEngine",
    "NumpyEngine",
    "OnnxEngine",
    "RolloutEngine",
    "RolloutShape",
    "Rollouts",
    "choose_engine",
    "compose_rollout",
]
