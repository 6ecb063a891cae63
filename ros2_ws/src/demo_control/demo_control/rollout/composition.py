"""Policy, dynamics, cost terms and value unrolled over the horizon into one ONNX graph.

One call then evaluates all control sequences of a plan: the time between the operators, which a call per step
would spend in Python, is gone. The cost is computed once on all states of the horizon together, on columns that lie
in one piece each. A single lane is a matrix, several are a stack of matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from demo_control.onnx_graph import GraphBuilder, without_functions
from demo_control.rollout.cost_graph import GraphValue, draw_term
from demo_control.rollout.engine import RolloutShape
from demo_control.rollout.single_member import on_matrices
from demo_control.tasks import Task

ROLLOUT_OUTPUTS = {
    "always": ("term_costs",),
    "with_controls": ("applied_controls",),
    "with_policy": ("policy_actions",),
    "with_trajectory": ("observations", "predictions"),
}
"""Names of a rollout graph's outputs, by what they depend on."""


LONGEST_UNROLLED = 64
"""Steps up to which the graph holds each by itself: up to 7 % faster for a few rows. Longer horizons repeat one step
(Scan), which is as fast for many rows and ready within milliseconds whatever their number."""


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
        self._dynamics = without_functions(dynamics)
        self._on_matrices = on_matrices(self._dynamics) if members == 1 else None
        self._members = members
        self._policy = None if policy is None else without_functions(policy)
        self._value = None if value is None else without_functions(value)
        self._lanes = 1 if shape.average_members else members
        self._graph = GraphBuilder("rollout")
        self._change = ("", "")

    def compose(self) -> onnx.ModelProto:
        """All steps, their costs, and the outputs' names."""
        graph, shape, lanes = self._graph, self._shape, self._lanes
        n, m, horizon = self._task.observation_dim, self._task.action_dim, shape.horizon
        start = self._part(graph.input("observation", [lanes, "rows", n]))
        controls = graph.input("controls", [horizon, lanes, "rows", m])
        feedback = graph.input("feedback", [horizon, lanes, "rows", 1]) if shape.with_policy else None
        step_weights = graph.input("step_weights", [1, horizon + 1])
        self._change = (graph.input("change_scale", ["rows", n]), graph.input("change_offset", ["rows", n]))
        make = self._unrolled if horizon <= LONGEST_UNROLLED else self._scanned
        states, steps = make(start, controls, feedback)
        costs = self._term_costs(states, steps["applied_controls"], step_weights)
        graph.output("term_costs", costs, [lanes, "rows", "terms"])
        if shape.with_controls:
            graph.output("applied_controls", steps["applied_controls"], [horizon, lanes, "rows", m])
        if shape.with_policy:
            graph.output("policy_actions", steps["policy_actions"], [horizon, lanes, "rows", m])
        if shape.with_trajectory:
            graph.output("observations", states, [horizon + 1, lanes, "rows", n])
            graph.output("predictions", steps["predictions"], [horizon, self._members, "rows", n])
        return graph.build([model for model in (self._dynamics, self._policy, self._value) if model is not None])

    def _unrolled(self, start: str, controls: str, feedback: str | None) -> tuple[str, dict[str, str]]:
        """All steps one after the other: (states, results of the steps by output), each (steps, lanes, rows, k)."""
        m = self._task.action_dim
        each_control = self._steps(controls, m)
        each_feedback = [None] * len(each_control) if feedback is None else self._steps(feedback, 1)
        states = [start]
        results: dict[str, list[str]] = {}
        for control, follow in zip(each_control, each_feedback, strict=True):
            following, step = self._step(states[-1], control, follow)
            states.append(following)
            for name, value in step.items():
                results.setdefault(name, []).append(value)
        stacked = {name: self._stack(parts, *self._extent(name)) for name, parts in results.items()}
        return self._stack(states, self._lanes, self._task.observation_dim), stacked

    def _scanned(self, start: str, controls: str, feedback: str | None) -> tuple[str, dict[str, str]]:
        """The same with one step in the graph, which is repeated: its size does not grow with the horizon."""
        outer, self._graph = self._graph, GraphBuilder("step", prefix="step/")
        rank = [self._lanes, "rows"] if self._lanes > 1 else ["rows"]
        n, m = self._task.observation_dim, self._task.action_dim
        state = self._graph.input("step/state", [*rank, n])
        inputs = [self._part(self._graph.input("step/control", [self._lanes, "rows", m]))]
        if feedback is not None:
            inputs.append(self._part(self._graph.input("step/feedback", [self._lanes, "rows", 1])))
        following, step = self._step(state, inputs[0], inputs[1] if feedback is not None else None)
        self._graph.output("step/following", following, [*rank, n])
        # A second output with the same value: what is carried on is not collected.
        for name, value in {"states": following, **step}.items():
            self._graph.output(f"step/{name}", value, [None] * self._rank_of(name))
        body, self._graph = self._graph.graph(), outer
        scanned = [controls] if feedback is None else [controls, feedback]
        collected = outer.split_node("Scan", [start, *scanned], 2 + len(step), body=body, num_scan_inputs=len(scanned))
        states, *results = [
            outer.reshape(value, (self._shape.horizon, lanes, -1, columns))
            for value, (lanes, columns) in zip(collected[1:], map(self._extent, ["states", *step]), strict=True)
        ]
        first = outer.reshape(start, (1, self._lanes, -1, n))
        return outer.node("Concat", first, states, axis=0), dict(zip(step, results, strict=True))

    def _rank_of(self, name: str) -> int:
        """Axes of one step's value: those of a part, or with one for the members."""
        return 2 if self._extent(name)[0] == 1 else 3

    def _extent(self, name: str) -> tuple[int, int]:
        """(lanes or members, columns) of one step's value."""
        lanes = self._members if name == "predictions" else self._lanes
        return lanes, self._task.observation_dim if name in ("states", "predictions") else self._task.action_dim

    def _step(self, state: str, control: str, feedback: str | None) -> tuple[str, dict[str, str]]:
        """One step on parts: (next state, results by output's name)."""
        graph = self._graph
        results = {}
        if feedback is not None:
            results["policy_actions"] = action = self._policy_action(state, control)
            control = graph.node("Add", control, graph.node("Mul", feedback, action))
        results["applied_controls"] = control = self._clip(control)
        prediction, following = self._next(state, control)
        if self._shape.with_trajectory:
            results["predictions"] = prediction
        return following, results

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

    def _next(self, state: str, control: str) -> tuple[str, str]:
        """(every member's prediction, next state)."""
        graph, wanted, (change_scale, change_offset) = self._graph, ["next_observation"], self._change
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

    def _term_costs(self, states: str, controls: str, step_weights: str) -> str:
        """Sum of step weight × cost term. (lanes, rows, terms)."""
        graph, task = self._graph, self._task
        steps, terms = self._shape.horizon + 1, len(task.cost_terms)
        last = graph.constant([-1], np.int64)
        # Behind the last state no action follows: its action cost counts as that of a zero action.
        no_control = graph.node("Mul", graph.node("Gather", controls, last, axis=0), graph.constant(0.0))
        x = self._columns(states, [q.name for q in task.observation])
        u = self._columns(graph.node("Concat", controls, no_control, axis=0), [q.name for q in task.action])
        costs = graph.node("Concat", *(draw_term(term, x, u) for term in task.cost_terms), axis=0)
        costs = graph.reshape(costs, (terms, steps, -1))
        counts = task.cost_counts(steps)
        if not counts.all():
            costs = graph.node("Mul", costs, graph.constant(counts.T[:, :, None]))
        total = graph.reshape(graph.node("MatMul", step_weights, costs), (terms, self._lanes, -1))
        total = graph.node("Transpose", total, perm=[1, 2, 0])
        if self._value is None:
            return total
        final = graph.reshape(graph.node("Gather", states, last, axis=0), (-1, task.observation_dim))
        (value,) = graph.inline(self._value, "value", {"observation": final}, ["value"])
        cost = graph.node("Neg", graph.reshape(value, (self._lanes, -1, 1)))
        return graph.node("Concat", total, cost, axis=2)

    def _columns(self, stacked: str, names: Sequence[str]) -> Mapping[str, GraphValue]:
        """The columns of (steps, lanes, rows, k) by name, each (1, steps · lanes · rows)."""
        graph = self._graph
        turned = graph.node("Transpose", graph.reshape(stacked, (-1, len(names))), perm=[1, 0])
        parts = graph.split_node("Split", [turned], len(names), axis=0) if len(names) > 1 else [turned]
        return {name: GraphValue(graph, part) for name, part in zip(names, parts, strict=True)}
