"""Our own engines on a case: a bare call, and whole plans that rest on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from batched_model import Contender, Evaluated
from rollout_cases import NOISE, Case

from demo_control.bundle import Bundle
from demo_control.mpc import Planner, PlannerSettings, PlanningResult, Previous, Situations
from demo_control.rollout import NativeEngine, OnnxEngine, RolloutEngine, Rollouts, RolloutShape
from demo_control.rollout.engine import Floats
from demo_control.tasks import Task

ENGINES: dict[str, Callable[[Task, Bundle, RolloutShape, int], RolloutEngine]] = {
    "native": NativeEngine,
    "onnx": OnnxEngine,
}


def engine_contender(case: Case, name: str, threads: int = 1) -> Contender:
    """One call of an engine with the case's samples."""
    engine = ENGINES[name](case.task, case.bundle, case.shape, threads)
    return Contender(
        name,
        lambda: engine.roll_out(*case.arguments),
        lambda: (case.samples, costs_of(case, engine, case.samples)),
    )


def costs_of(case: Case, engine: RolloutEngine, samples: Floats) -> Floats:
    """What samples cost on an engine. Shape=(members, rows)."""
    observations, _, *others = case.arguments
    costs: Floats = engine.roll_out(observations, samples, *others).term_costs @ case.weights
    return costs


class Recorder:
    """An engine that remembers its last call.

    Args:
        engine: Does the work.
    """

    def __init__(self, engine: RolloutEngine) -> None:
        self._engine = engine
        self.controls: Floats = np.empty(0)
        self.term_costs: Floats = np.empty(0)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the engine has
        """All else is the engine's."""
        return getattr(self._engine, name)

    def roll_out(self, observations: Floats, controls: Floats, *others: Any) -> Rollouts:  # noqa: ANN401 - as they come
        """See :class:`RolloutEngine`."""
        rollouts = self._engine.roll_out(observations, controls, *others)
        self.controls, self.term_costs = controls, rollouts.term_costs
        return rollouts


class PlanInTurn:
    """Makes one plan after the other from the same observation, the way MPPI does.

    That is: the plan before moved on, exponential weights, one mirror step that forgets the old plan, from the observed
    state itself.

    Args:
        case: Its horizon and number of samples hold.
        make_engine: Builds the engines.
    """

    def __init__(self, case: Case, make_engine: Callable[[RolloutShape], RolloutEngine]) -> None:
        horizon, members, rows, _ = case.samples.shape
        settings = PlannerSettings(
            shift="shift_and_repeat",
            utility="exponential",
            num_samples=members * rows,
            horizon=horizon,
            step_size=1.0,
            noise_standard_deviation=NOISE,
            terminal_weight=1.0,
        )
        task = replace(case.task, unmodelled_ticks=0)
        self._planner = Planner(task, settings, make_engine)
        self._generators = [np.random.default_rng(0)]
        self._previous: Previous | None = None
        self._start, self._pending = case.start[None], np.zeros((1, 0, task.action_dim))

    def __call__(self) -> PlanningResult:
        """The next plan."""
        ones = np.ones_like(self._start)
        situations = Situations(self._start, self._pending, [self._previous], ones, 0.0 * ones)
        result = self._planner.plan(situations, self._generators)
        self._previous = result.previous(0, 1)
        return result


def plan_in_turn(case: Case, engine: str) -> PlanInTurn:
    """Plans on one thread of one of :data:`ENGINES`."""
    return PlanInTurn(case, lambda shape: ENGINES[engine](case.task, case.bundle, shape, 1))


def plan_contender(case: Case, engine: str) -> Contender:
    """Whole plans on an engine; what is compared are the samples of one of them."""
    made: list[Recorder] = []

    def make_recorder(shape: RolloutShape) -> RolloutEngine:
        made.append(Recorder(ENGINES[engine](case.task, case.bundle, shape, 1)))
        return made[-1]

    def evaluate() -> Evaluated:
        # Recorded plans go call by call; those that are timed make a mirror step in one call where they can.
        recorded, timed = PlanInTurn(case, make_recorder)(), plan_in_turn(case, engine)()
        np.testing.assert_allclose(timed.mean, recorded.mean, rtol=1e-4, atol=1e-5)
        (samples,) = (recorder for recorder in made if not recorder.shape.average_members)
        return samples.controls, samples.term_costs @ case.weights

    return Contender(f"{engine}_plan", plan_in_turn(case, engine), evaluate)
