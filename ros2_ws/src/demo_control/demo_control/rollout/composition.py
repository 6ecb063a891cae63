"""Policy, dynamics, cost terms and value unrolled over the horizon into one ONNX graph.

One call then evaluates all control sequences of a plan: the time between the operators, which a call per step
would spend in Python, is gone. The cost is computed once on all states of the horizon together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from demo_control.onnx_graph import GraphBuilder
from demo_control.rollout.cost_graph import GraphNamespace, GraphValue
from demo_control.rollout.engine import RolloutShape
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
    """One composition; arguments as in :func:`compose_rollout`."""

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
        self._members = members
        self._policy = policy
        self._value = value
        self._lanes = 1 if shape.average_members else members
        self._graph = GraphBuilder("rollout")

    def compose(self) -> onnx.ModelProto:
        """Unroll, add the costs, name the outputs."""
        graph, shape, lanes = self._graph, self._shape, self._lanes
        n, m, horizon = self._task.observation_dim, self._task.action_dim, shape.horizon
        state = graph.input("observation", [lanes, "rows", n])
        controls = self._steps(graph.input("controls", [horizon, lanes, "rows", m]))
        feedback = self._steps(graph.input("feedback", [horizon, lanes, "rows", 1])) if shape.with_policy else None
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
        graph.output("applied_controls", self._stack(applied), [horizon, lanes, "rows", m])
        if shape.with_policy:
            graph.output("policy_actions", self._stack(policy_actions), [horizon, lanes, "rows", m])
        if shape.with_trajectory:
            graph.output("observations", self._stack(states), [horizon + 1, lanes, "rows", n])
            graph.output("predictions", self._stack(predictions), [horizon, self._members, "rows", n])
        return graph.build()

    def _steps(self, stacked: str) -> list[str]:
        """The steps of a (horizon, lanes, rows, k) input, each as (lanes, rows, k)."""
        steps = self._graph.split_node("Split", [stacked], self._shape.horizon, axis=0)
        axis = self._graph.constant([0], np.int64)
        return [self._graph.node("Squeeze", step, axis) for step in steps]

    def _stack(self, steps: list[str]) -> str:
        """Steps of shape (lanes, rows, k) as one (len(steps), lanes, rows, k)."""
        graph = self._graph
        axis = graph.constant([0], np.int64)
        return graph.node("Concat", *(graph.node("Unsqueeze", step, axis) for step in steps), axis=0)

    def _clip(self, control: str) -> str:
        """Keep a control within the hard limits."""
        control = self._graph.node("Max", control, self._graph.constant(self._task.action_minimum))
        return self._graph.node("Min", control, self._graph.constant(self._task.action_maximum))

    def _policy_action(self, state: str, control: str) -> str:
        """π_θ of (lanes, rows, n) as (lanes, rows, m), which is the shape of ``control``."""
        graph = self._graph
        if self._policy is None:
            return graph.node("Mul", control, graph.constant(0.0))
        flat = graph.reshape(state, (-1, self._task.observation_dim))
        (action,) = graph.inline(self._policy, "policy", {"observation": flat}, ["action"])
        return graph.reshape(action, (self._lanes, -1, self._task.action_dim))

    def _next(self, state: str, control: str, change_scale: str, change_offset: str) -> tuple[str, str]:
        """(every member's prediction, next state)."""
        graph, averaging = self._graph, self._shape.average_members
        if averaging:
            state, control = self._for_each_member(state), self._for_each_member(control)
        (prediction,) = graph.inline(
            self._dynamics, "dynamics", {"observation": state, "action": control}, ["next_observation"]
        )
        change = graph.node("Mul", graph.node("Sub", prediction, state), change_scale)
        prediction = graph.node("Add", state, graph.node("Add", change, change_offset))
        mean = graph.node("ReduceMean", prediction, axes=[0], keepdims=1) if averaging else prediction
        return prediction, mean

    def _for_each_member(self, value: str) -> str:
        """(1, rows, k) as (members, rows, k)."""
        if self._members == 1:
            return value
        return self._graph.node("Concat", *([value] * self._members), axis=0)

    def _term_costs(self, states: list[str], controls: list[str], step_weights: str) -> str:
        """Sum of step weight × cost term. (lanes, rows, terms)."""
        graph, task = self._graph, self._task
        steps = self._shape.horizon + 1
        # Behind the last state no action follows: its action cost counts as that of a zero action.
        no_control = graph.node("Mul", controls[-1], graph.constant(0.0))
        x = self._columns(graph.node("Concat", *states, axis=0), [q.name for q in task.observation])
        u = self._columns(graph.node("Concat", *controls, no_control, axis=0), [q.name for q in task.action])
        namespace = GraphNamespace()
        columns = [term.function(x, u, namespace).name for term in task.cost_terms]
        costs = graph.node("Concat", *columns, axis=2)
        counts = task.cost_counts(steps)
        if not counts.all():
            # (steps · lanes, rows, terms), the lanes of a step side by side
            costs = graph.node("Mul", costs, graph.constant(np.repeat(counts, self._lanes, axis=0)[:, None]))
        flat = graph.reshape(costs, (steps, -1))
        total = graph.node("MatMul", step_weights, flat)
        terms = graph.reshape(total, (self._lanes, -1, len(task.cost_terms)))
        if self._value is None:
            return terms
        last = graph.reshape(states[-1], (-1, task.observation_dim))
        (value,) = graph.inline(self._value, "value", {"observation": last}, ["value"])
        cost = graph.node("Neg", graph.reshape(value, (self._lanes, -1, 1)))
        return graph.node("Concat", terms, cost, axis=2)

    def _columns(self, stacked: str, names: list[str]) -> Mapping[str, GraphValue]:
        """The columns of (steps · lanes, rows, k) by name, each (steps · lanes, rows, 1)."""
        parts = self._graph.split_node("Split", [stacked], len(names), axis=2) if len(names) > 1 else [stacked]
        return {name: GraphValue(self._graph, part) for name, part in zip(names, parts, strict=True)}
