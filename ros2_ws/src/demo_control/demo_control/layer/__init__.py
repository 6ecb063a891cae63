"""The DeMo layer without middleware: what the ROS node, the evaluation and the training all run.

Two sides, meant for two threads. The control side, :class:`Corrector`, answers every nominal action at once from the
freshest plan. The planning side makes plans and hands each over in one assignment. So a late planner can never
delay a command.
"""

from demo_control.layer.corrector import Corrector
from demo_control.layer.demo_layer import DemoLayer, PlanBegun
from demo_control.layer.planning import history_length, make_planner, situations
from demo_control.layer.records import FALLBACK_REASONS, Correction, Counters, LayerState, Plan, PlanReport, TrialEnd
from demo_control.layer.settings import COST_WEIGHT_PREFIX, LayerSettings

__all__ = [
    "COST_WEIGHT_PREFIX",
    "FALLBACK_REASONS",
    "Correction",
    "Corrector",
    "Counters",
    "DemoLayer",
    "LayerSettings",
    "LayerState",
    "Plan",
    "PlanBegun",
    "PlanReport",
    "TrialEnd",
    "history_length",
    "make_planner",
    "situations",
]
