"""Policy, dynamics, cost terms and value as the kernel's program: what composition.py is for ONNX Runtime.

The tapes of one step instead of a graph of all steps, and columns instead of tensors; otherwise the same operations
in the same order, so that NaN and infinity go the same ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx

from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout.cost_graph import GraphValue, draw_term
from demo_control.rollout.engine import RolloutShape
from demo_control.rollout.native.graph import Graph, UnsupportedGraphError, read_graph
from demo_control.rollout.native.instructions import Operator
from demo_control.rollout.native.lowering import Lowering
from demo_control.rollout.native.program import Assembler, Program, Rows
from demo_control.tasks import Task

BLOCKS = (
    "observation", "control", "feedback", "change_scale", "change_offset", "policy_action", "predictions", "terms",
    "totals", "value",
)  # fmt: skip
"""The kernel's own rows, in the order in which they lie; 'Rows' in kernel/program.hpp."""

TAPES = ("control", "cost", "dynamics", "value")
"""Of each lane; 'LaneTapes' in kernel/program.hpp."""

_BATCH_RANK = 2
_MEMBER_RANK = 3


@dataclass(frozen=True)
class CompiledRollout:
    """A program and who runs which part of it.

    Attributes:
        program: Tapes and numbers.
        lane_tapes: Number of each lane's tapes, in the order of :data:`TAPES`. Shape=(lanes, 4).
        predictions: How many members' predictions one lane reports.
    """

    program: Program
    lane_tapes: Sequence[tuple[int, int, int, int]]
    predictions: int

    @property
    def num_lanes(self) -> int:
        """Lanes of the rollouts: 1, or one per member."""
        return len(self.lane_tapes)

    def operations(self, horizon: int) -> int:
        """Floating-point operations in the layers of one sample in every lane, activations not counted."""
        return int(self._over_all_steps(self.program.operations, horizon))

    def time_with_matrix_unit(self, horizon: int) -> float:
        """Estimated time with the processor's matrix unit, as a share of the time without."""
        vectors, matrix = (self._over_all_steps(cycles, horizon) for cycles in self.program.cycles.T)
        return matrix / vectors

    def _over_all_steps(self, per_tape: npt.NDArray[Any], horizon: int) -> float:
        """Sum over whole rollouts of all lanes. per_tape: Shape=(num_tapes,)."""
        return sum(
            float(horizon * (per_tape[control] + per_tape[dynamics]) + (horizon + 1) * per_tape[cost] + per_tape[value])
            for control, cost, dynamics, value in self.lane_tapes
        )


def compile_rollout(
    task: Task,
    shape: RolloutShape,
    dynamics: onnx.ModelProto,
    members: int,
    policy: onnx.ModelProto | None,
    value: onnx.ModelProto | None = None,
) -> CompiledRollout:
    """Compile a rollout; arguments as in :func:`demo_control.rollout.composition.compose_rollout`.

    Raises:
        UnsupportedGraphError: Policy, dynamics, a cost term or the value has what the kernel does not know.
    """
    return _Compiler(task, shape, dynamics, members, policy, value).compile()


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Say which part it is that the kernel does not know."""
    try:
        yield
    except UnsupportedGraphError as error:
        raise UnsupportedGraphError(f"{part}: {error}") from None


class _Compiler:
    """One compilation; arguments as in :func:`compile_rollout`."""

    def __init__(
        self,
        task: Task,
        shape: RolloutShape,
        dynamics: onnx.ModelProto,
        members: int,
        policy: onnx.ModelProto | None,
        value: onnx.ModelProto | None,
    ) -> None:
        self._task = task
        self._shape = shape
        with _named("dynamics"):
            self._dynamics = read_graph(dynamics, ["next_observation"])
        self._members = members
        with _named("policy"):
            self._policy = None if policy is None or not shape.with_policy else read_graph(policy, ["action"])
        with _named("value"):
            self._value = None if value is None else read_graph(value, ["value"])
        self._predictions = 0 if not shape.with_trajectory else members if shape.average_members else 1
        self._assembler = Assembler()
        self._num_tapes = 0
        n, m, terms = task.observation_dim, task.action_dim, len(task.cost_terms)
        sizes = (n, m, 1, n, n, m, max(1, self._predictions * n), terms, terms, 1)
        self._rows = {name: self._assembler.block(name, size) for name, size in zip(BLOCKS, sizes, strict=True)}

    def compile(self) -> CompiledRollout:
        """Write all tapes."""
        members = range(self._members)
        with _named("policy"):
            control = self._control_tape()
        with _named("cost terms"):
            cost = self._cost_tape()
        with _named("value"):
            value = self._value_tape()
        groups: list[Sequence[int]] = [list(members)] if self._shape.average_members else [[i] for i in members]
        with _named("dynamics"):
            lane_tapes = [(control, cost, self._dynamics_tape(group), value) for group in groups]
        return CompiledRollout(self._assembler.assemble(), lane_tapes, self._predictions)

    def _begin(self) -> int:
        """Begin a tape; returns its number."""
        self._assembler.begin()
        self._num_tapes += 1
        return self._num_tapes - 1

    def _control_tape(self) -> int:
        """Control + feedback · policy, within the hard limits."""
        tape, lowering, rows = self._begin(), Lowering(self._assembler), self._rows
        control = rows["control"]
        if self._shape.with_policy:
            if self._policy is None:
                action = lowering.apply(Operator.MULTIPLY, control, lowering.number(0.0))
            else:
                (action,) = lowering.lower(self._policy, {"observation": rows["observation"]}, ["action"], _BATCH_RANK)
            action = self._assembler.copy(action, rows["policy_action"])
            followed = lowering.apply(Operator.MULTIPLY, rows["feedback"], action)
            control = lowering.apply(Operator.ADD, control, followed)
        for operator, limits in (
            (Operator.MAXIMUM, self._task.action_minimum),
            (Operator.MINIMUM, self._task.action_maximum),
        ):
            limit_rows = tuple(self._assembler.constant(limit) for limit in limits)
            control = lowering.apply(operator, control, limit_rows, rows["control"])
        return tape

    def _dynamics_tape(self, members: Sequence[int]) -> int:
        """The next observation: that of one member, or the mean of several."""
        tape, rows = self._begin(), self._rows
        state, n = rows["observation"], self._task.observation_dim
        lowering = Lowering(self._assembler)
        predictions: list[Rows] = []
        inputs = {"observation": state, "action": rows["control"]}
        for member in members:
            (prediction,) = lowering.of_member(member).lower(self._dynamics, inputs, ["next_observation"], _MEMBER_RANK)
            reported = None
            if self._predictions:
                reported = rows["predictions"][len(predictions) * n : (len(predictions) + 1) * n]
            elif len(members) == 1:
                reported = state
            predictions.append(self._assembler.follow(prediction, state, reported))
        total = predictions[0]
        for prediction in predictions[1:]:
            total = lowering.apply(Operator.ADD, total, prediction)
        if len(members) > 1:
            lowering.apply(Operator.DIVIDE, total, lowering.number(len(members)), state)
        elif self._predictions:
            self._assembler.copy(total, state)
        return tape

    def _cost_tape(self) -> int:
        """The cost terms of one state and control."""
        tape, lowering, rows, task = self._begin(), Lowering(self._assembler), self._rows, self._task
        graph, inputs, outputs = _cost_graph(task)
        columns = (*rows["observation"], *rows["control"])
        terms = lowering.lower(graph, dict(zip(inputs, ((row,) for row in columns), strict=True)), outputs, _BATCH_RANK)
        for row, term in zip(rows["terms"], terms, strict=True):
            self._assembler.copy(term, (row,))
        return tape

    def _value_tape(self) -> int:
        """−V of the last state; empty without value function."""
        tape, rows = self._begin(), self._rows
        if self._value is not None:
            lowering = Lowering(self._assembler)
            (value,) = lowering.lower(self._value, {"observation": rows["observation"]}, ["value"], _BATCH_RANK)
            lowering.apply(Operator.NEGATE, value, None, rows["value"])
        return tape


def _cost_graph(task: Task) -> tuple[Graph, list[str], list[str]]:
    """The cost terms as a graph of columns: (graph, names of inputs, names of outputs)."""
    builder = GraphBuilder("costs")
    inputs: list[str] = []

    def columns(kind: str, names: Sequence[str]) -> dict[str, GraphValue]:
        values = {name: GraphValue(builder, builder.input(f"{kind}/{name}", ("rows", 1))) for name in names}
        inputs.extend(value.name for value in values.values())
        return values

    x = columns("observation", [quantity.name for quantity in task.observation])
    u = columns("action", [quantity.name for quantity in task.action])
    outputs = []
    for term in task.cost_terms:
        outputs.append(f"term/{term.name}")
        builder.output(outputs[-1], draw_term(term, x, u), ("rows", 1))
    return read_graph(builder.build(), outputs), inputs, outputs
