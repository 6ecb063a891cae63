"""A mirror step in one call of the compiled kernel, for what a robot mostly plans with.

It is the body of the loop in :meth:`demo_control.mpc.planner.Planner.plan`. Taken one by one, the calls in it wait for
Python, whose caches are empty after rollouts: on a plan of a few milliseconds that is several percent.
"""

from __future__ import annotations

from demo_control.mpc.settings import PlannerSettings
from demo_control.mpc.utilities import UTILITIES, count_elites
from demo_control.rollout.engine import RolloutEngine
from demo_control.rollout.native.engine import NativeEngine
from demo_control.rollout.native.mirror_step import MirrorStep
from demo_control.tasks import Array

_COMPILED = {name: UTILITIES[name] for name in ("exponential", "elite_fraction")}
"""What the kernel computes; under the same name there may be a utility of somebody's own."""


class CompiledSteps:
    """Mirror steps of one robot.

    Args:
        engine: Of the samples.
        limits: Least and greatest control. Shape=(action_dim,) each.
    """

    def __init__(self, engine: NativeEngine, limits: tuple[Array, Array]) -> None:
        self._engine, self._limits = engine, limits
        self._steps: dict[int, MirrorStep] = {}
        self._settings: PlannerSettings | None = None

    @staticmethod
    def on(engine: RolloutEngine, settings: PlannerSettings, limits: tuple[Array, Array]) -> CompiledSteps | None:
        """Mirror steps on an engine, or None where a step is more than one call can do.

        Args:
            engine: Of the samples.
            settings: The planner's.
            limits: Least and greatest control. Shape=(action_dim,) each.
        """
        alone = settings.ensemble == "split" or engine.num_members == 1
        simple = settings.bounds == "clip" and not settings.keep_elites and not engine.shape.with_policy
        return CompiledSteps(engine, limits) if isinstance(engine, NativeEngine) and alone and simple else None

    def serves(self, settings: PlannerSettings, num_robots: int) -> bool:
        """Whether a step can be made with these settings, for so many robots."""
        return num_robots == 1 and UTILITIES[settings.utility] is _COMPILED.get(settings.utility)

    def prepared(self, settings: PlannerSettings, num_samples: int) -> MirrorStep:
        """A step ready to be made with these settings and that many samples."""
        if settings is not self._settings:
            self._steps, self._settings = {}, settings
        if num_samples not in self._steps:
            step = self._steps[num_samples] = MirrorStep(self._engine, num_samples, self._limits)
            if settings.utility == "exponential":
                step.use_exponential(settings.temperature, settings.temperature_scale)
            else:
                step.use_elites(count_elites(settings.elite_fraction, num_samples), settings.elite_weighting)
        return self._steps[num_samples]
