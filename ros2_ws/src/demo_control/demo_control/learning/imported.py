"""The ensemble that a dynamics.onnx holds, to be trained on: the inverse of :func:`export.dynamics_model`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from demo_control.bundle import BundleError
from demo_control.learning.ensemble import Ensemble, NetworkSettings, Scaling, visible_entries
from demo_control.tasks import Array, Task

_STACKED = 3
"""Axes of a layer's weights: members, inputs, outputs."""

_HEADS = ("mean", "spread")


def imported_ensemble(task: Task, model: onnx.ModelProto, scaling: Scaling) -> Ensemble:
    """Read an ensemble from its graph, in other units if wanted: what it computes stays the same.

    Args:
        task: The planning problem.
        model: dynamics.onnx, as ``democtl train`` exports it.
        scaling: Units in which its networks shall see inputs and outputs from now on; they are not in the graph, where
            they are folded into the weights.

    Raises:
        BundleError: Another kind of graph.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in graph.initializer}
    followers = {name: node for node in graph.node for name in node.input}
    layers: list[tuple[Array, Array]] = []
    shares = []
    for node in graph.node:
        weight = constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or weight.ndim != _STACKED:
            continue
        added = followers.get(node.output[0])
        if added is None or added.op_type != "Add" or added.input[1] not in constants:
            raise _foreign("a layer without a bias")
        layers.append((weight, constants[added.input[1]]))
        shares.append(added.output[0])
    hidden = len(layers) - len(_HEADS)
    if hidden < 1 or any(one[0].shape[2] != two[0].shape[1] for one, two in pairwise(layers[: hidden + 1])):
        raise _foreign("its layers do not follow one another")
    activations = {node.op_type for node in graph.node} & {"Tanh", "Sigmoid"}
    lower, width = _bounds(graph, constants, followers, shares[-1])
    members, _, units = layers[0][0].shape
    settings = NetworkSettings(
        num_members=members,
        num_elites=members,
        hidden_layers=hidden,
        hidden_units=units,
        activation="tanh" if "Tanh" in activations else "silu",
    )
    values: dict[str, Array] = {}
    for index, (weight, bias) in enumerate(layers[:hidden]):
        values[f"weight_{index}"], values[f"bias_{index}"] = weight, bias
    for head, (weight, bias) in zip(_HEADS, layers[hidden:], strict=True):
        values[f"{head}_weight"], values[f"{head}_bias"] = weight, bias
    values["lower"], values["upper"] = lower, lower + width
    _change_units(task, values, scaling)
    parameters = {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}
    return Ensemble(task, settings, scaling, parameters)


def _bounds(
    graph: onnx.GraphProto, constants: dict[str, Array], followers: dict[str, onnx.NodeProto], spread: str
) -> tuple[Array, Array]:
    """Smallest log variance, and how far above it the largest is, physical units."""
    name, found = spread, []
    for kind in ("Sigmoid", "Mul", "Add"):
        node = followers.get(name)
        if node is None or node.op_type != kind:
            raise _foreign("its variances have no bounds")
        found += [constants[value] for value in node.input if value in constants]
        name = node.output[0]
    if len(found) != len(("width", "lower")) or not any(name in node.input for node in graph.node):
        raise _foreign("its variances have no bounds")
    return found[1], found[0]


def _change_units(task: Task, values: dict[str, Array], scaling: Scaling) -> None:
    """Take scaling out of the weights; rows of entries that the networks do not see go with it."""
    n = task.observation_dim
    rows = [*visible_entries(task), *range(n, n + task.action_dim)]
    if values["weight_0"].shape[1] != n + task.action_dim:
        raise _foreign(f"{values['weight_0'].shape[1]} inputs instead of {n + task.action_dim}")
    seen = values["weight_0"][:, rows]
    if np.abs(values["weight_0"]).sum() != np.abs(seen).sum():
        raise _foreign("it looks at entries that the task hides from its model")
    values["bias_0"] = values["bias_0"] + scaling.input_mean @ seen[:, np.newaxis]
    values["weight_0"] = seen * scaling.input_scale[:, np.newaxis]
    values["mean_weight"] = values["mean_weight"] / scaling.output_scale
    values["mean_bias"] = (values["mean_bias"] - scaling.output_mean) / scaling.output_scale
    for name in ("lower", "upper"):
        values[name] = values[name] - 2.0 * np.log(scaling.output_scale)


def _foreign(what: str) -> BundleError:
    return BundleError(f"dynamics.onnx: {what}; only models that 'democtl train' has exported can be refitted")
