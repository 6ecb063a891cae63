"""The ensemble as dynamics.onnx, and the check that both compute the same."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import Tensor

from demo_control.learning.dataset import Windows
from demo_control.learning.ensemble import (
    SMALLEST_NORM,
    Ensemble,
    circle_projection,
    visible_entries,
)
from demo_control.onnx_graph import GraphBuilder, make_session
from demo_control.rollout.cost_graph import GraphNamespace, GraphValue
from demo_control.tasks import Array, Task
from demo_control.transitions import next_columns, num_outputs

PARITY_TOLERANCE = 3e-5


class ParityError(RuntimeError):
    """The exported graph does not compute what the trained ensemble computes."""


def dynamics_model(ensemble: Ensemble) -> onnx.ModelProto:
    """Build dynamics.onnx from the weights; scaling and hidden entries are folded into them.

    Returns:
        ``observation (members, batch, n), action (members, batch, m) → next_observation (members, batch, n),
        log_variance (members, batch, num_outputs)``, physical units. Each output has its own branch, so
        that a planner that needs no variance does not pay for it.
    """
    task, k = ensemble.task, ensemble.num_members
    n, m = task.observation_dim, task.action_dim
    weights = {name: p.detach().numpy().astype(np.float64) for name, p in ensemble.parameters.items()}
    graph = GraphBuilder("dynamics")
    observation = graph.input("observation", [k, "batch", n])
    action = graph.input("action", [k, "batch", m])
    weights["weight_0"], weights["bias_0"] = _folded_first_layer(ensemble, weights)
    hidden = graph.node("Concat", observation, action, axis=-1)
    for i in range(ensemble.settings.hidden_layers):
        hidden = _affine(graph, hidden, weights[f"weight_{i}"], weights[f"bias_{i}"])
        if ensemble.settings.activation == "tanh":
            hidden = graph.node("Tanh", hidden)
        else:
            hidden = graph.node("Mul", hidden, graph.node("Sigmoid", hidden))
    scale, mean = ensemble.scaling.output_scale, ensemble.scaling.output_mean
    outputs = _affine(graph, hidden, weights["mean_weight"] * scale, weights["mean_bias"] * scale + mean)
    following = _following(graph, task, observation, outputs, action)
    graph.output("next_observation", following, [k, "batch", n])
    share = _affine(graph, hidden, weights["spread_weight"], weights["spread_bias"])
    share = graph.node("Sigmoid", share)
    width = graph.constant(weights["upper"] - weights["lower"])
    lower = graph.constant(weights["lower"] + 2.0 * np.log(scale))
    log_variance = graph.node("Add", graph.node("Mul", share, width), lower)
    graph.output("log_variance", log_variance, [k, "batch", num_outputs(task)])
    return graph.build()


def _following(graph: GraphBuilder, task: Task, observation: str, outputs: str, action: str) -> str:
    """The next observation: what the task's transition makes of the outputs, or their sum with the observation."""
    if task.transition is None:
        return _on_circles(graph, graph.node("Add", observation, outputs), task)

    def columns(value: str, count: int) -> list[GraphValue]:
        names = [value] if count == 1 else graph.split_node("Split", [value], count, axis=-1)
        return [GraphValue(graph, name) for name in names]

    following = next_columns(
        task,
        columns(observation, task.observation_dim),
        columns(outputs, num_outputs(task)),
        columns(action, task.action_dim),
        GraphNamespace(),
    )
    return graph.node("Concat", *(column.name for column in following), axis=-1)


def _affine(graph: GraphBuilder, value: str, weight: Array, bias: Array) -> str:
    product = graph.node("MatMul", value, graph.constant(weight))
    return graph.node("Add", product, graph.constant(bias))


def _folded_first_layer(ensemble: Ensemble, weights: dict[str, Array]) -> tuple[Array, Array]:
    """First layer for raw observations and actions; rows of hidden entries are zero."""
    task, scaling = ensemble.task, ensemble.scaling
    n, m = task.observation_dim, task.action_dim
    scaled = weights["weight_0"] / scaling.input_scale[:, np.newaxis]
    rows = [*visible_entries(task), *range(n, n + m)]
    full = np.zeros((scaled.shape[0], n + m, scaled.shape[2]))
    full[:, rows] = scaled
    return full, weights["bias_0"] - scaling.input_mean @ scaled[:, np.newaxis]


def _on_circles(graph: GraphBuilder, value: str, task: Task) -> str:
    """Divide each (cosine, sine) pair by its length, other entries by 1."""
    if not task.unit_circles:
        return value
    projection, offset = circle_projection(task)
    squares = graph.node("MatMul", graph.node("Mul", value, value), graph.constant(projection))
    norm = graph.node("Sqrt", graph.node("Add", squares, graph.constant(offset)))
    return graph.node("Div", value, graph.node("Max", norm, graph.constant(SMALLEST_NORM)))


def check_parity(ensemble: Ensemble, model: onnx.ModelProto, windows: Windows, generator: np.random.Generator) -> float:
    """Compare the ensemble with its graph, on data and on random inputs within the ranges.

    Args:
        ensemble: As trained, with its scaling.
        model: Its export.
        windows: Data to compare on.
        generator: Draws the inputs.

    Returns:
        The largest difference of any output, relative to the output where that is above 1.

    Raises:
        ParityError: It is above ``PARITY_TOLERANCE``, or not a number.
    """
    observations, actions = _inputs(ensemble.task, windows, generator)
    k = ensemble.num_members
    x = np.broadcast_to(observations, (k, *observations.shape)).astype(np.float32)
    u = np.broadcast_to(actions, (k, *actions.shape)).astype(np.float32)
    with torch.no_grad():
        expected: tuple[Tensor, Tensor] = ensemble.predict(torch.from_numpy(x), torch.from_numpy(u))
    names = ["next_observation", "log_variance"]
    found = make_session(model).run(names, {"observation": x, "action": u})
    difference = 0.0
    for tensor, array in zip(expected, found, strict=True):
        wanted = tensor.numpy()
        relative = np.abs(array - wanted) / np.maximum(1.0, np.abs(wanted))
        difference = max(difference, float(relative.max()))
        if not np.isfinite(relative).all():
            difference = float("nan")
    if not difference <= PARITY_TOLERANCE:
        raise ParityError(
            f"dynamics.onnx differs from the trained ensemble by {difference:.2e}; allowed are {PARITY_TOLERANCE:.0e}"
        )
    return difference


def _inputs(task: Task, windows: Windows, generator: np.random.Generator) -> tuple[Array, Array]:
    """As many rows of the data as random rows within the ranges (and on the unit circles)."""
    count = 1000
    starts = generator.choice(windows.starts, size=count)
    x, u = windows.take(starts)
    low = np.array([q.minimum for q in task.observation])
    high = np.array([q.maximum for q in task.observation])
    random_x = generator.uniform(low, high, size=(count, task.observation_dim))
    names = [quantity.name for quantity in task.observation]
    for cosine, sine in task.unit_circles:
        angle = generator.uniform(-np.pi, np.pi, size=count)
        random_x[:, names.index(cosine)] = np.cos(angle)
        random_x[:, names.index(sine)] = np.sin(angle)
    random_u = generator.uniform(task.action_minimum, task.action_maximum, (count, task.action_dim))
    return np.vstack([x[:, 0], random_x]), np.vstack([u[:, 0], random_u])
