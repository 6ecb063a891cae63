"""What was observed and carried out in a recording, as a model is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from demo_control.bags.layer_runs import LayerLog, LayerRun
from demo_control.bags.layer_tables import CommandTable
from demo_control.bags.replay import Answers
from demo_control.bags.stretches import Integers, Mask, Stretch, cut
from demo_control.layer import LayerSettings
from demo_control.tasks import Array, Task

_PIECE = 20_000
"""Observations that are held in memory at a time."""
_SAME_COMMAND = 1e-3
"""So far, in half ranges, an answer may be from the recorded command for its decision to count as what was decided."""
_DRIVERS_OWN = "driver:"


class RecordedStretches:
    """The stretches of a recording; each time they are gone through they are made anew, a piece at a time.

    What was in force in a control period is what the driver told in ``applied_action`` to be sent in its middle; where
    that was not recorded, the command that answers its observation, or the one before where there is none. Where plans
    decide on corrections, these are known from the recording's answers: they count where the answer is the command that
    was recorded, and the driver carried that out.

    Args:
        task: The robot's.
        log: The recording.
        answered: Each run with the recorded commands answered again under the recorded settings; needed only where
            plans decide on corrections.
    """

    def __init__(self, task: Task, log: LayerLog, answered: Sequence[tuple[LayerRun, Answers]] = ()) -> None:
        self._task, self._log, self._answered = task, log, answered
        # What the driver carried out is told with its time; a command stands beside the observation that it answers.
        told = task.planning is None and log.carried_out(task.action_dim) is not None
        settings = LayerSettings.from_mapping(log.runs[-1].states[-1].settings, source="the recording's layer_state")
        self.delay_ticks = 0 if told else settings.command_delay_ticks
        """See :class:`Stretch`."""
        self._table = log.runs[0].commands.table
        self._homes: tuple[Integers, Integers] | None = None

    def __iter__(self) -> Iterator[Stretch]:
        """One after the other."""
        observations = self._log.observations
        sequences, stamps = observations.sequences.numbers(), observations.stamps_ns.numbers()
        if observations.rows.width != self._task.observation_dim:
            return
        first, end = self._log.commanded()
        for start in range(first, end, _PIECE):
            piece = slice(start, min(start + _PIECE, end))
            values = observations.rows.read(piece.start, piece.stop)
            controls = self._controls(sequences[piece], stamps[piece])
            for stretch in cut(self._task, sequences[piece], stamps[piece], values, controls):
                yield replace(stretch, delay_ticks=self.delay_ticks)

    def _controls(self, sequences: Integers, stamps_ns: Integers) -> Array:
        """What was in force after each observation. Shape=(count, control_dim)."""
        applied = self._log.carried_out(self._task.action_dim)
        if applied is not None:
            return self._applied(applied, stamps_ns + round(self._task.control_period_s * 0.5e9))
        places = _held(self._table.values.indices(sequences, stamps_ns), sequences)
        return self._of_commands(places)

    def _applied(self, table: CommandTable, times_ns: Integers) -> Array:
        """What was in force at some times, as the driver told it."""
        stamps = table.stamps_ns.numbers()
        places = np.searchsorted(np.maximum.accumulate(stamps), times_ns, side="right") - 1
        if self._task.planning is None:
            return table.values.rows.take(places)
        commands = np.full(len(places), -1)
        known = places >= 0
        own = np.array([text.startswith(_DRIVERS_OWN) for text in table.sources.texts])
        known[known] = ~own[table.sources.codes()[places[known]]]
        keys = table.values
        commands[known] = self._table.values.indices(
            keys.sequences.numbers()[places[known]], keys.stamps_ns.numbers()[places[known]]
        )
        return self._of_commands(commands)

    def _of_commands(self, places: Integers) -> Array:
        """The controls of commands of the layer, NaN for the place -1."""
        if self._task.planning is None:
            return self._table.values.rows.take(places)
        runs, rows = self._home()
        found = np.full((len(places), self._task.planning_problem.action_dim), np.nan)
        for number, (run, answers) in enumerate(self._answered):
            here = np.flatnonzero((places >= 0) & (runs[places] == number))
            if len(here):
                own = rows[places[here]]
                controls = answers.controls.take(own)
                controls[~self._same(run, answers, own)] = np.nan
                found[here] = controls
        return found

    def _same(self, run: LayerRun, answers: Answers, rows: Integers) -> Mask:
        """Whether some answers are the commands that were recorded. Shape=(count,)."""
        recorded = self._table.values.rows.take(run.commands.places[rows])
        half_range = (self._task.action_maximum - self._task.action_minimum) / 2.0
        near: Mask = np.abs(answers.values.take(rows) - recorded) <= _SAME_COMMAND * half_range
        return np.asarray(near.all(axis=1))

    def _home(self) -> tuple[Integers, Integers]:
        """Run, and place in it, of each command of the table; -1 for none. Shape=(count,) each."""
        if self._homes is None:
            count = len(self._table)
            runs, rows = np.full(count, -1), np.zeros(count, np.int64)
            for number, (run, _) in enumerate(self._answered):
                runs[run.commands.places] = number
                rows[run.commands.places] = np.arange(len(run.commands))
            self._homes = runs, rows
        return self._homes


def _held(places: Integers, sequences: Integers) -> Integers:
    """Where nothing answers an observation, the command before it stays, as on the robot; not beyond a restart."""
    rows = np.where(places >= 0, np.arange(len(places)), -1)
    rows = np.maximum.accumulate(rows)
    restarts = np.concatenate([[0], np.flatnonzero(np.diff(sequences) <= 0) + 1])
    began = restarts[np.searchsorted(restarts, np.arange(len(places)), side="right") - 1]
    held: Integers = np.where(rows >= began, places[np.maximum(rows, 0)], -1)
    return held
