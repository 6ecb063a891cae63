"""Settings of the layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from demo_control.configuration import ConfigurationError, setting
from demo_control.mpc import PlannerSettings
from demo_control.tasks import Task

COST_WEIGHT_PREFIX = "cost_weight_"
"""Before a cost term's name in the name of the parameter that weighs it."""


@dataclass(frozen=True)
class LayerSettings(PlannerSettings):
    """Settings of the layer: the planner's, and when a plan is made and trusted."""

    use_layer: bool = setting(True, "False passes nominal actions through unchanged.", in_flight=True)
    plan_period_ticks: int = setting(
        1, "Control periods between the starts of two plans; no fewer than from an observation to its plan's first.",
        minimum=1, maximum=1000, in_flight=True,
    )  # fmt: skip
    maximum_plan_age_ticks: int = setting(
        10, "A plan older than this many control periods is stale.", minimum=1, maximum=1000, in_flight=True
    )
    minimum_gain: float = setting(
        0.0, "A plan is accepted if it is predicted to cost at least this much less than the policy.",
        minimum=-1e9, maximum=1e9, in_flight=True,
    )  # fmt: skip
    full_gain: float = setting(
        -1e9, "From this predicted gain on a plan is followed in full; below, by a share that is 0 at minimum_gain.",
        minimum=-1e9, maximum=1e9, in_flight=True,
    )  # fmt: skip
    rejected_plan_share: float = setting(
        0.0, "What is left of a plan that was not worth it, where the next search starts; 0 forgets it.",
        minimum=0.0, maximum=1.0, in_flight=True,
    )  # fmt: skip
    maximum_disagreement: float = setting(
        1.0, "A plan is rejected where the members' predictions spread wider, as a share of the range.",
        minimum=0.0, maximum=1e9, in_flight=True,
    )  # fmt: skip
    adapt_model: bool = setting(
        True,
        "Scale the predicted changes by what the robot is seen to do (needs a plan for every observation).",
        in_flight=True,
    )
    offset_gain: float = setting(
        0.0, "Share of each prediction's error that goes into the offset of the task's offset entries.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    adaptation_memory_ticks: float = setting(
        250.0, "Predictions after which an observation counts 1/e in the scale.", minimum=1.0, maximum=1e6
    )
    adaptation_prior_ticks: float = setting(
        10.0, "Predictions of typical change that outweigh the model as it was trained.", minimum=1e-3, maximum=1e6
    )
    adaptation_limit: float = setting(2.0, "The scale stays between 1 / this and this.", minimum=1.0, maximum=100.0)
    swap_trial_plans: int = setting(
        300,
        "Plans after a swap of the bundle during which its predictions are compared with those of the one before, "
        "which comes back where it is better; 0 for no trial.",
        minimum=0, maximum=1_000_000, in_flight=True,
    )  # fmt: skip
    swap_margin: float = setting(
        1.1, "A swapped model's one-step error may be larger than that of the one before by this factor.",
        minimum=1.0, maximum=100.0, in_flight=True,
    )  # fmt: skip
    swap_false_alarm: float = setting(
        0.001, "Largest probability that a swapped model that is no worse is rolled back.",
        minimum=1e-12, maximum=0.5, in_flight=True,
    )  # fmt: skip

    @classmethod
    def for_task(cls, task: Task, overrides: Mapping[str, object] | None = None) -> LayerSettings:
        """The task's own settings, with some replaced.

        Raises:
            ConfigurationError: An unknown name or a bad value.
        """
        base = cls.from_mapping(task.planner, source=f"task '{task.name}'")
        return cls.from_mapping(overrides or {}, base=base)

    def check_task(self, task: Task) -> None:
        """Check that each plan begins before the next one is made.

        A plan is made for what is in force until it begins: one that is waiting would take effect in between.

        Raises:
            ConfigurationError: Plans are made more often than that.
        """
        fewest = task.planning_problem.planning_ticks
        if self.plan_period_ticks < fewest:
            raise ConfigurationError(
                f"plan_period_ticks = {self.plan_period_ticks}: must be at least {fewest} for '{task.name}', the "
                "control periods from an observation to the first step of its plan"
            )
