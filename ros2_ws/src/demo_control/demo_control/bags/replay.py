"""Answers a recording's nominal actions again, by the code that answers them on the robot.

What an answer depends on is all in the recording. The observations and nominal actions; ``layer_state``: settings,
weights, seed and bundle, and before which command and plan each came into force; ``planner_status``: which observation
a plan was made from; and ``Action.plans``: how many plans there were when a command was due. The planner runs beside
the commands, so that this last number is a matter of timing, and the only one. The noise is drawn in the order of the
plans. So the plans can be made one after the other here, each before the first command that knew of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from demo_control.bags.columns import Integer, Names, Rows
from demo_control.bags.errors import BagError
from demo_control.bags.layer_runs import LayerLog, LayerRun, State
from demo_control.bags.layer_tables import FIGURES, Key, Plans, PlanTable
from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.layer import Correction, DemoLayer, LayerSettings, PlanBegun
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Array, Task

FindBundle = Callable[[str], Bundle]
"""Returns the bundle with a hash; raises BagError if it is not here."""

PlanWatcher = Callable[[int, PlanBegun, DemoLayer], None]
"""Told each plan when it has been made: its number, what it was made from, and the layer, which has taken it."""

_MOST_WARNINGS = 5


@dataclass(frozen=True)
class Changes:
    """What is different from the recording.

    Attributes:
        settings: Of the layer, by name.
        bundle: In the place of every recorded one, or None.
        policy: Answers the observations in the place of the recorded nominal actions, or None.
    """

    settings: Mapping[str, Scalar] = field(default_factory=dict)
    bundle: Bundle | None = None
    policy: OnnxPolicy | None = None


NOT_ANSWERED = "not answered"
"""In the place of a source where the nominal action is not in the recording."""

PLAN_FIGURES = ("nominal_cost", "plan_cost", "predicted_gain", "accepted")


@dataclass
class Answers:
    """What the layer answers now.

    Attributes:
        values: One for each recorded command, in order; NaN where there is none. Shape=(action_dim,) each.
        controls: The same of what was decided: commands, or corrections where plans decide on these.
        sources: Who made each, and why, or :data:`NOT_ANSWERED`.
        plan_numbers: Of the plans made.
        plan_figures: Of each; see :data:`PLAN_FIGURES`.
        warnings: What could not be done as it was, one line each.
        planning_s: Wall time of planning.
    """

    values: Rows = field(default_factory=lambda: Rows("answers"))
    controls: Rows = field(default_factory=lambda: Rows("decisions"))
    sources: Names = field(default_factory=Names)
    plan_numbers: Integer = field(default_factory=Integer)
    plan_figures: Rows = field(default_factory=lambda: Rows("plans"))
    warnings: list[str] = field(default_factory=list)
    planning_s: float = 0.0

    def figures(self) -> Array:
        """Of all plans. Shape=(count, len(PLAN_FIGURES))."""
        return self.plan_figures.read(0, len(self.plan_figures)).reshape(-1, len(PLAN_FIGURES))


def answer_again(
    run: LayerRun,
    log: LayerLog,
    task: Task,
    find_bundle: FindBundle,
    changes: Changes | None = None,
    watch: PlanWatcher | None = None,
) -> Answers:
    """Answer one run's nominal actions.

    Args:
        run: Of the layer.
        log: Holds observations and nominal actions.
        task: The robot's.
        find_bundle: Finds recorded bundles.
        changes: What shall be different.
        watch: Told of every plan.

    Raises:
        BagError: The bundle the run began with is not here.
        BundleError: A bundle that does not fit.
        ConfigurationError: Settings that cannot be.
    """
    replay = _Replay(run, log, task, find_bundle, changes or Changes())
    replay.watch = watch
    replay.answer_all()
    return replay.answers


class _Replay:
    """One run under way; see :func:`answer_again`."""

    def __init__(self, run: LayerRun, log: LayerLog, task: Task, find_bundle: FindBundle, changes: Changes) -> None:
        self._run, self._log, self._task = run, log, task
        self._find_bundle, self._changes = find_bundle, changes
        self.answers = Answers()
        self.watch: PlanWatcher | None = None
        first = run.states[0]
        self._states = self._placed(run.states[1:])
        self._sha256 = first.bundle_sha256
        settings = self._settings_of(first)
        self._layer = DemoLayer(task, changes.bundle or find_bundle(first.bundle_sha256), settings, first.seed)
        self._layer.update_cost_weights(first.cost_weights)
        self._numbers = sorted(run.plans)
        if self._schedule_changed():
            self._numbers = self._new_schedule(settings.plan_period_ticks)
        self._unknown = np.full(task.action_dim, np.nan), np.full(task.planning_problem.action_dim, np.nan)
        self._next = 0
        self._begun: tuple[int, PlanBegun] | None = None
        self._troubles: dict[str, list[int]] = {}

    def answer_all(self) -> None:
        """Go through the commands in their order."""
        last = max([*self._numbers[-1:], int(self._run.commands.plans.max())])
        first = 1 if self._run.from_start else min([last + 1, *self._numbers])
        untold = last + 1 - first - len(self._numbers)
        if untold > 0:
            self.answers.warnings.append(f"/planner_status: {untold} plans are missing in the recording")
        for index, command in enumerate(self._run.commands):
            # A bundle is swapped beside the commands: one that does not know of the plans before was earlier.
            self._apply_states(commands=index, known_plans=command.plans)
            self._finish_until(command.plans)
            nominal = self._nominal(command.key)
            if nominal is None:
                self._note("the nominal action is not in the recording: commands", command.key.sequence)
            self._note_answer(None if nominal is None else self._layer.correct(command.key.sequence, nominal))
            self._begin_after(command.key)
        self._finish_until(max(self._numbers, default=0))
        for what, numbers in self._troubles.items():
            shown = ", ".join(map(str, numbers[:_MOST_WARNINGS])) + (", …" if len(numbers) > _MOST_WARNINGS else "")
            self.answers.warnings.append(f"{what} {shown} ({len(numbers)} in all)")

    def _settings_of(self, state: State) -> LayerSettings:
        settings = LayerSettings.from_mapping(state.settings, source="the recording's layer_state")
        return LayerSettings.from_mapping(self._changes.settings, base=settings)

    def _nominal(self, key: Key) -> Array | None:
        """What the layer is to answer; with another policy, what that makes of the observation."""
        if self._changes.policy is None:
            return self._log.nominal.get(key)
        observation = self._log.observations.get(key)
        if observation is None or observation.shape != (self._task.observation_dim,):
            return None
        answer: Array = self._changes.policy.act(observation[None])[0]
        return answer

    def _placed(self, states: list[State]) -> list[State]:
        """The states, with ``commands`` counted from the first that was recorded."""
        if self._run.from_start:
            return states
        stamps = self._run.commands.stamps_ns
        return [replace(state, commands=int((stamps < state.stamp_ns).sum())) for state in states]

    def _apply_states(self, *, known_plans: int, commands: int | None = None) -> None:
        """Put in force what came into force before that many plans, and commands where a number is given."""
        while self._states:
            state = self._states[0]
            if commands is not None and state.commands > commands:
                return
            if state.plans <= known_plans:
                self._finish_until(state.plans)
            elif commands is None or not self._changed_during(state, known_plans + 1):
                return
            self._states.pop(0)
            try:
                self._layer.update_settings(self._settings_of(state))
                self._layer.update_cost_weights(state.cost_weights)
            except ConfigurationError as error:
                self.answers.warnings.append(f"a change of settings was left out: {error}")
            if state.bundle_sha256 != self._sha256 and self._changes.bundle is None:
                self._sha256 = state.bundle_sha256
                try:
                    self._layer.swap_bundle(self._find_bundle(state.bundle_sha256))
                except (BagError, ConfigurationError) as error:
                    self.answers.warnings.append(f"a swap of the bundle was left out: {error}")

    def _changed_during(self, state: State, number: int) -> bool:
        """Whether no more than settings changed, while the plan of that number was made; it is then under way here."""
        if state.plans != number or state.bundle_sha256 != self._sha256:
            return False
        self._finish_until(number - 1)
        if self._begun is None and self._numbers[self._next : self._next + 1] == [number]:
            self._begin(number, self._key_of(self._run.plans.sequence(number)))
        return self._begun is not None and self._begun[0] == number

    def _begin_after(self, key: Key) -> None:
        """Begin the next plan, if it was made from the observation that has just been answered."""
        if self._next == len(self._numbers):
            return
        number = self._numbers[self._next]
        if self._run.plans.sequence(number) != key.sequence:
            return
        self._finish_until(number - 1)
        if self._states and self._states[0].plans < number:
            return  # A change that was waiting for the planner came before; the plan begins when it is needed.
        self._begin(number, key)

    def _begin(self, number: int, key: Key | None) -> None:
        """Begin a plan, as far as its observation is there."""
        self._next += 1
        observation = None if key is None else self._log.observations.get(key)
        if key is None or observation is None:
            self._note("the observation is not in the recording: plans", number)
        elif observation.shape != (self._task.observation_dim,) or not np.isfinite(observation).all():
            self._note("the observation cannot be planned from: plans", number)
        else:
            self._begun = number, self._layer.begin_plan(key.sequence, observation)

    def _finish_until(self, number: int) -> None:
        """Make all plans up to a number."""
        self._finish_begun(number)
        while self._next < len(self._numbers) and self._numbers[self._next] <= number:
            following = self._numbers[self._next]
            self._apply_states(known_plans=following - 1)
            if self._next < len(self._numbers) and self._numbers[self._next] == following:
                self._begin(following, self._key_of(self._run.plans.sequence(following)))
            self._finish_begun(number)

    def _finish_begun(self, number: int) -> None:
        if self._begun is not None and self._begun[0] <= number:
            begun, self._begun = self._begun, None
            began_s = time.perf_counter()
            report = self._layer.finish_plan(begun[1])
            self.answers.planning_s += time.perf_counter() - began_s
            if self.watch is not None:
                self.watch(*begun, self._layer)
            self.answers.plan_numbers.append(begun[0])
            self.answers.plan_figures.append(np.array([float(getattr(report, name)) for name in PLAN_FIGURES]))

    def _note_answer(self, correction: Correction | None) -> None:
        answers = self.answers
        if correction is None or correction.values is None or correction.control is None:
            reason = NOT_ANSWERED if correction is None else f"{correction.source}:{correction.reason}"
            values, control = self._unknown
        else:
            reason = ":".join(part for part in (correction.source, correction.reason) if part)
            values, control = correction.values, correction.control
        answers.sources.append(reason)
        answers.values.append(values)
        answers.controls.append(control)

    def _key_of(self, sequence: int) -> Key | None:
        """The last command's that answers an observation of this number."""
        places = np.flatnonzero(self._run.commands.sequences == sequence)
        return self._run.commands[int(places[-1])].key if len(places) else None

    def _schedule_changed(self) -> bool:
        """Whether plans are to be made at other times than they were."""
        name = "plan_period_ticks"
        wanted = self._changes.settings
        return name in wanted and any(state.settings.get(name) != wanted[name] for state in self._run.states)

    def _new_schedule(self, period: int) -> list[int]:
        """Plans from every ``period``-th observation, each there for the next command.

        Returns:
            Their numbers.
        """
        table, places = PlanTable(), dict[int, int]()
        commands = self._run.commands
        known = np.zeros(len(commands), np.int64)
        last: int | None = None
        for index, (sequence, stamp_ns) in enumerate(zip(commands.sequences, commands.stamps_ns, strict=True)):
            known[index] = len(table)
            if last is None or not 0 <= sequence - last < period:
                last = int(sequence)
                places[len(table) + 1] = len(table)
                table.append(len(table) + 1, last, int(stamp_ns), np.full(len(FIGURES), np.nan))
        plans = Plans(table, places)
        self._run = replace(self._run, commands=commands.with_plans(known), plans=plans)
        self._states = [
            replace(s, plans=int(known[s.commands]) if s.commands < len(known) else len(plans)) for s in self._states
        ]
        self.answers.warnings.append(
            f"plan_period_ticks = {period}: plans are made from every {period}. observation and are there in time"
        )
        return sorted(plans)

    def _note(self, what: str, number: int) -> None:
        self._troubles.setdefault(what, []).append(number)
