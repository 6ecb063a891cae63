"""Sizes of plans that keep to a deadline on this machine: a search, what it measures, and what it says.

No torch and no rclpy here.
"""

from demo_control.tuning.bracket import Bracket
from demo_control.tuning.records import Candidate, Measurement, Tuned, TuningGoal
from demo_control.tuning.report import TuningReport
from demo_control.tuning.search import tune
from demo_control.tuning.timing import PlanTimer, possible_arms, tune_task

__all__ = [
    "Bracket",
    "Candidate",
    "Measurement",
    "PlanTimer",
    "Tuned",
    "TuningGoal",
    "TuningReport",
    "possible_arms",
    "tune",
    "tune_task",
]
