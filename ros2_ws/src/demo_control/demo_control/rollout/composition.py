"""Policy, dynamics, cost terms and value unrolled over the horizon into one ONNX graph.

One call then evaluates all control sequences of a plan: the time between the operators, which a call per step
would spend in Python, is gone. The cost is computed once on all states of the horizon together, on columns that lie
in one piece each. A single lane is a matrix, several are a stack of matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout.cost_graph import GraphNamespace, GraphValue
from demo_control.rollout.engine import RolloutShape
from demo_control.rollout.single_member import on_matrices
from demo_control.tasks import Task

ROLLOUT_OUTPUTS = {
    "always": ("term_costs", "applied_controls"),
    "with_policy": ("policy_actions",),
    "with_trajectory": ("observations", "predictions"),
}
"""Names of a rollout graph's outputs, by what they depend on."""


def compose_rollout(
    task: Task,
    shape: RolloutShape,
    dynamics: onnx.ModelProto,
    members: int,
    policy: onnx.ModelProto | None,
    value: onnx.ModelProto | None = None,
) -> onnx.ModelProto:
    """Compose the rollout graph; inputs and outputs as in :class:`RolloutEngine`.

    Args:
        task: Gives names, limits and cost terms.
        shape: Horizon and what is wanted.
        dynamics: Ensemble, as in the bundle.
        members: Ensemble members K in ``dynamics``.
        policy: As in the bundle, or None for one that answers zero; used if ``shape.with_policy``.
        value: V_ζ as in the bundle: adds a last cost term −V(x_H), or None.

    Returns:
        The model; rows are a free dimension.
    """
    return _Composer(task, shape, dynamics, members, policy, value).compose()


class _Composer:
    """One composition; arguments as in :func:`compose_rollout`.

    A *part* below is (rows, k) where there is one lane, and (lanes, rows, k) where there are several.
    """

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
        self._dynamics = dynamics
        self._on_matrices = on_matrices(dynamics) if members == 1 else None
        self._members = members
        self._policy = policy
        self._value = value
        self._lanes = 1 if shape.average_members else members
        self._graph = GraphBuilder("rollout")

    def compose(self) -> onnx.ModelProto:
        """Unroll, add the costs, name the outputs."""
        graph, shape, lanes = self._graph, self._shape, self._lanes
        n, m, horizon = self._task.observation_dim, self._task.action_dim, shape.horizon
        state = self._part(graph.input("observation", [lanes, "rows", n]))
        controls = self._steps(graph.input("controls", [horizon, lanes, "rows", m]), m)
        feedback = self._steps(graph.input("feedback", [horizon, lanes, "rows", 1]), 1) if shape.with_policy else None
        step_weights = graph.input("step_weights", [1, horizon + 1])
        change_scale = graph.input("change_scale", ["rows", n])
        change_offset = graph.input("change_offset", ["rows", n])
        states, applied, policy_actions, predictions = [state], [], [], []
        for step, control in enumerate(controls):
            if feedback is not None:
                action = self._policy_action(state, control)
                policy_actions.append(action)
                control = graph.node("Add", control, graph.node("Mul", feedback[step], action))  # noqa: PLW2901
            control = self._clip(control)  # noqa: PLW2901
            prediction, state = self._next(state, control, change_scale, change_offset)
            applied.append(control)
            predictions.append(prediction)
            states.append(state)
        graph.output("term_costs", self._term_costs(states, applied, step_weights), [lanes, "rows", "terms"])
        graph.output("applied_controls", self._stack(applied, lanes, m), [horizon, lanes, "rows", m])
        if shape.with_policy:
            graph.output("policy_actions", self._stack(policy_actions, lanes, m), [horizon, lanes, "rows", m])
        if shape.with_trajectory:
            graph.output("observations", self._stack(states, lanes, n), [horizon + 1, lanes, "rows", n])
            predicted = self._stack(predictions, self._members, n)
            graph.output("predictions", predicted, [horizon, self._members, "rows", n])
        return graph.build()

    def _part(self, stacked: str) -> str:
        """A part of (lanes, rows, k)."""
        return stacked if self._lanes > 1 else self._graph.node("Squeeze", stacked, self._first_axis())

    def _steps(self, stacked: str, columns: int) -> list[str]:
        """The steps of a (horizon, lanes, rows, k) input, each as a part."""
        # Splitting along the first axis copies whole pieces; the axis that is left over is the lanes' or goes.
        flat = self._graph.reshape(stacked, (self._shape.horizon * self._lanes, -1, columns))
        steps = self._graph.split_node("Split", [flat], self._shape.horizon, axis=0)
        return [self._part(step) for step in steps]

    def _stack(self, steps: Sequence[str], lanes: int, columns: int) -> str:
        """Steps of (lanes, rows, k), or (rows, k) if that is one lane, as one (steps, lanes, rows, k)."""
        return self._graph.reshape(self._graph.node("Concat", *steps, axis=0), (len(steps), lanes, -1, columns))

    def _first_axis(self) -> str:
        return self._graph.constant([0], np.int64)

    def _clip(self, control: str) -> str:
        """Keep a control within the hard limits."""
        control = self._graph.node("Max", control, self._graph.constant(self._task.action_minimum))
        return self._graph.node("Min", control, self._graph.constant(self._task.action_maximum))

    def _policy_action(self, state: str, control: str) -> str:
        """π_θ of a part, in the shape of ``control``."""
        graph = self._graph
        if self._policy is None:
            return graph.node("Mul", control, graph.constant(0.0))
        flat = graph.reshape(state, (-1, self._task.observation_dim)) if self._lanes > 1 else state
        (action,) = graph.inline(self._policy, "policy", {"observation": flat}, ["action"])
        return graph.reshape(action, (self._lanes, -1, self._task.action_dim)) if self._lanes > 1 else action

    def _next(self, state: str, control: str, change_scale: str, change_offset: str) -> tuple[str, str]:
        """(every member's prediction, next state)."""
        graph, wanted = self._graph, ["next_observation"]
        several = self._members > 1
        if several and self._shape.average_members:
            state, control = self._for_each_member(state), self._for_each_member(control)
        if several or self._on_matrices is not None:
            model = self._dynamics if self._on_matrices is None else self._on_matrices
            (prediction,) = graph.inline(model, "dynamics", {"observation": state, "action": control}, wanted)
        else:
            axis = self._first_axis()
            stacked = {
                "observation": graph.node("Unsqueeze", state, axis), "action": graph.node("Unsqueeze", control, axis),
            }  # fmt: skip
            prediction = graph.node("Squeeze", graph.inline(self._dynamics, "dynamics", stacked, wanted)[0], axis)
        change = graph.node("Mul", graph.node("Sub", prediction, state), change_scale)
        prediction = graph.node("Add", state, graph.node("Add", change, change_offset))
        if several and self._shape.average_members:
            return prediction, graph.node("ReduceMean", prediction, axes=[0], keepdims=0)
        return prediction, prediction

    def _for_each_member(self, value: str) -> str:
        """(rows, k) as (members, rows, k)."""
        stacked = self._graph.node("Unsqueeze", value, self._first_axis())
        return self._graph.node("Concat", *([stacked] * self._members), axis=0)

    def _term_costs(self, states: Sequence[str], controls: Sequence[str], step_weights: str) -> str:
        """Sum of step weight × cost term. (lanes, rows, terms)."""
        graph, task = self._graph, self._task
        steps, terms = self._shape.horizon + 1, len(task.cost_terms)
        # Behind the last state no action follows: its action cost counts as that of a zero action.
        no_control = graph.node("Mul", controls[-1], graph.constant(0.0))
        x = self._columns(states, [q.name for q in task.observation])
        u = self._columns([*controls, no_control], [q.name for q in task.action])
        namespace = GraphNamespace()
        costs = graph.node("Concat", *(term.function(x, u, namespace).name for term in task.cost_terms), axis=0)
        costs = graph.reshape(costs, (terms, steps, -1))
        counts = task.cost_counts(steps)
        if not counts.all():
            costs = graph.node("Mul", costs, graph.constant(counts.T[:, :, None]))
        total = graph.reshape(graph.node("MatMul", step_weights, costs), (terms, self._lanes, -1))
        total = graph.node("Transpose", total, perm=[1, 2, 0])
        if self._value is None:
            return total
        last = graph.reshape(states[-1], (-1, task.observation_dim))
        (value,) = graph.inline(self._value, "value", {"observation": last}, ["value"])
        cost = graph.node("Neg", graph.reshape(value, (self._lanes, -1, 1)))
        return graph.node("Concat", total, cost, axis=2)

    def _columns(self, steps: Sequence[str], names: Sequence[str]) -> Mapping[str, GraphValue]:
        """The columns of all steps' parts by name, each (1, steps · lanes · rows)."""
        graph = self._graph
        joined = graph.reshape(graph.node("Concat", *steps, axis=0), (-1, len(names)))
        joined = graph.node("Transpose", joined, perm=[1, 0])
        parts = graph.split_node("Split", [joined], len(names), axis=0) if len(names) > 1 else [joined]
        return {name: GraphValue(graph, part) for name, part in zip(names, parts, strict=True)}
