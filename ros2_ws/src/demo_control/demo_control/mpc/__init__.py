"""The method: dynamic mirror descent MPC (control distribution, utilities, shift models, mirror step, planner).

NumPy only; no torch, no rclpy, no robot.
"""

from demo_control.mpc.planner import Planner
from demo_control.mpc.presets import PRESETS, preset
from demo_control.mpc.settings import PlannerSettings
from demo_control.mpc.shift_models import SHIFT_MODELS, Previous, ShiftModel
from demo_control.mpc.situations import PlanningResult, Situations

__all__ = [
    "PRESETS",
    "SHIFT_MODELS",
    "Planner",
    "PlannerSettings",
    "PlanningResult",
    "Previous",
    "ShiftModel",
    "Situations",
    "preset",
]
