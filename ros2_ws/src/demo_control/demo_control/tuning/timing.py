"""How long the layer's plans take on this machine, without ROS."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.layer import DemoLayer, LayerSettings
from demo_control.machine import settle_memory, usable_cores
from demo_control.rollout import choose_engine
from demo_control.tasks import Array, Task
from demo_control.tuning.records import Candidate, Measurement, TuningGoal
from demo_control.tuning.report import TuningReport
from demo_control.tuning.search import possible_threads, tune

_WARM_UP = 3
_FEWEST = 5
_LONGEST_REST_S = 0.02
_ENGINES = ("native", "onnx")

Told = Callable[[str, int, int], None]
"""Is told what is measured, how many of its plans were made, and how many will be."""


def tune_task(
    task: Task,
    bundle: Bundle,
    goal: TuningGoal,
    overrides: Mapping[str, Scalar],
    engine: str = "auto",
    threads: int = 0,
    told: Told = lambda _what, _done, _total: None,
) -> TuningReport:
    """Look for the largest plans of a task's layer that keep to a deadline here.

    Args:
        task: The robot and its job.
        bundle: Policy and model.
        goal: What must hold.
        overrides: Settings other than the task's own.
        engine: 'native', 'onnx', or 'auto' for both.
        threads: At most that many; 0 for one per core.
        told: Progress.

    Raises:
        ConfigurationError: Settings that do not fit the bundle, or an engine or threads that are not there.
    """
    own = LayerSettings.for_task(task, overrides)
    arms, reason = possible_arms(task, bundle, engine, threads)
    timer = PlanTimer(task, bundle, overrides, goal, told)
    start = Candidate(*arms[0], own.horizon, own.num_samples)
    tuned = tune(goal, start, bundle.contract.members, arms, timer.measure)
    return TuningReport(task.name, goal, tuned, overrides, reason)


class PlanTimer:
    """Times whole plans of a task's layer: the plan itself, and what the layer does around it.

    It rests between two plans as a node does: the caches then hold other things, and the scheduler does not take it for
    a program that wants all it can get.

    Args:
        task: The robot and its job.
        bundle: Policy and model.
        overrides: Settings other than the task's own.
        goal: Its quantile is reported, and a candidate that cannot keep to its deadline any more is not timed on.
        told: Progress.
        seed: Of observations, noise, and who is when at turn.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        task: Task,
        bundle: Bundle,
        overrides: Mapping[str, Scalar],
        goal: TuningGoal,
        told: Told,
        seed: int = 0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._task, self._bundle, self._overrides = task, bundle, overrides
        self._goal, self._told, self._seed, self._sleep = goal, told, seed, sleep

    def measure(self, candidates: Sequence[Candidate], plans: int) -> list[Measurement]:
        """Time plans of several candidates that take turns in random order; see :data:`demo_control.tuning.Measure`.

        Raises:
            ConfigurationError: Settings that do not fit the bundle.
        """
        what = " and ".join(f"{one.num_samples} × {one.horizon}" for one in dict.fromkeys(candidates))
        layers = [self._layer(candidate) for candidate in candidates]
        settle_memory()
        generator = np.random.default_rng(self._seed)
        times: list[list[float]] = [[] for _ in candidates]
        for layer in layers * _WARM_UP:
            layer.next_plan_s()
        for number in range(1, plans + 1):
            going = [index for index, taken in enumerate(times) if not self._lost(taken, plans)]
            for index in generator.permutation(going):
                times[index].append(layers[index].next_plan_s())
                rest_s = 1e-3 * self._goal.period_ms - times[index][-1]
                self._sleep(min(max(rest_s, 0.0), _LONGEST_REST_S))
            self._told(what, number, plans)
        return [self._measurement(*pair) for pair in zip(candidates, times, strict=True)]

    def _lost(self, times_s: Sequence[float], plans: int) -> bool:
        """Whether more plans are late already than may be of all; a few are made in any case, for the median."""
        late = sum(time_s > self._goal.deadline_s for time_s in times_s)
        return len(times_s) >= _FEWEST and late > self._goal.late_plans(plans)

    def _layer(self, candidate: Candidate) -> _TimedLayer:
        sizes = {"horizon": candidate.horizon, "num_samples": candidate.num_samples}
        engine = {"engine": candidate.engine, "engine_threads": candidate.threads}
        # A deadline is kept where all mirror steps are made, as they are when the robot is in trouble.
        longest = {"mirror_step_tolerance": 0.0}
        settings = LayerSettings.for_task(self._task, {**self._overrides, **sizes, **engine, **longest})
        return _TimedLayer(self._task, DemoLayer(self._task, self._bundle, settings, self._seed), self._seed)

    def _measurement(self, candidate: Candidate, times_s: Sequence[float]) -> Measurement:
        median, late, longest = np.quantile(times_s, [0.5, self._goal.quantile, 1.0], method="inverted_cdf")
        return Measurement(candidate, len(times_s), float(median), float(late), float(longest))


class _TimedLayer:
    """A layer that is asked for one plan after the other, for a robot that stays near the middle of its ranges."""

    def __init__(self, task: Task, layer: DemoLayer, seed: int) -> None:
        low, high = (np.array([getattr(q, side) for q in task.observation]) for side in ("minimum", "maximum"))
        self._middle, self._spread = (low + high) / 2.0, 0.05 * (high - low)
        self._nominal: Array = (task.action_minimum + task.action_maximum) / 2.0
        self._layer, self._generator = layer, np.random.default_rng(seed)
        self._sequence = 0

    def next_plan_s(self) -> float:
        """How long the plan from the next observation takes."""
        for _ in range(self._layer.settings.plan_period_ticks):
            self._sequence += 1
            self._layer.correct(self._sequence, self._nominal)
        observation = self._middle + self._spread * self._generator.uniform(-1.0, 1.0, self._middle.shape)
        started = time.perf_counter()
        self._layer.plan(self._sequence, observation)
        return time.perf_counter() - started


def possible_arms(task: Task, bundle: Bundle, engine: str, threads: int) -> tuple[list[tuple[str, int]], str]:
    """Engines and numbers of threads that are possible here.

    Args:
        task: The robot and its job.
        bundle: Policy and model.
        engine: 'native', 'onnx', or 'auto' for both.
        threads: At most that many; 0 for one per core.

    Returns:
        The arms, and what 'auto' would take of them and why.

    Raises:
        ConfigurationError: An unknown engine, or 'native' where it cannot be.
    """
    choice = choose_engine(task.planning_problem, bundle, engine)
    engines = [choice.name] if engine != "auto" or choice.name != "native" else list(_ENGINES)
    cores = usable_cores()
    if threads > cores:
        raise ConfigurationError(f"threads = {threads}: must be at most {cores}, the cores that this process may use")
    counts = possible_threads(threads or cores)
    return [(name, count) for name in engines for count in counts], str(choice)
