"""What the compiler reads of an ONNX graph: the needed nodes, with layers recognised as such."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Constant = npt.NDArray[Any]

DENSE = "Dense"
"""Operator of a fused layer: inputs are (x, weights) or (x, weights, bias), 'activation' is an attribute."""

_ACTIVATIONS = {"Relu": "relu", "Tanh": "hyperbolic_tangent", "Sigmoid": "sigmoid"}


class UnsupportedGraphError(ValueError):
    """A graph with something that the kernel does not know; the text names it."""


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        operator: ONNX's name, or :data:`DENSE`.
        inputs: Names of values; '' for one that is left out.
        outputs: Names of values.
        attributes: By name.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Nodes in order, and constants by name."""

    nodes: Sequence[Node]
    constants: Mapping[str, Constant]


def read_graph(model: onnx.ModelProto, outputs: Sequence[str]) -> Graph:
    """The part of a model's graph that ``outputs`` need, its layers fused.

    Raises:
        UnsupportedGraphError: Nodes of another operator set than ONNX's own.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    wanted = set(outputs)
    nodes: list[Node] = []
    for proto in reversed(model.graph.node):
        if not wanted.intersection(proto.output):
            continue
        if proto.domain not in ("", "ai.onnx"):
            raise UnsupportedGraphError(f"operator '{proto.op_type}' of the operator set '{proto.domain}'")
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in proto.attribute}
        if proto.op_type == "Constant":
            constants[proto.output[0]] = _constant(attributes)
            continue
        wanted.update(proto.input)
        nodes.append(Node(proto.op_type, tuple(proto.input), tuple(proto.output), attributes))
    return Graph(_fused(nodes[::-1], constants, outputs), constants)


def _constant(attributes: Mapping[str, Any]) -> Constant:
    """The value of a node 'Constant'."""
    if "value" in attributes:
        return numpy_helper.to_array(attributes["value"])
    for name, value in attributes.items():
        if name.startswith(("value_float", "value_int")):
            return np.array(value, np.float32 if "float" in name else np.int64)
    raise UnsupportedGraphError(f"a constant given by {', '.join(attributes) or 'nothing'}")


def _fused(nodes: Sequence[Node], constants: Mapping[str, Constant], outputs: Sequence[str]) -> list[Node]:
    """Products, their bias and their activation as one node, where nothing else uses what lies between."""
    uses = Counter(name for node in nodes for name in node.inputs)
    uses.update(outputs)
    consumers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            consumers.setdefault(name, []).append(node)
    gone: set[int] = set()
    result = []
    for node in nodes:
        if id(node) in gone:
            continue
        if node.operator not in ("MatMul", "Gemm"):
            result.append(node)
            continue
        layer = _product(node, constants)
        for extend in (_with_bias, _with_activation):
            extended = extend(layer, consumers.get(layer.outputs[0], []), uses, constants, consumers)
            if extended is not None:
                layer, absorbed = extended
                gone.update(id(other) for other in absorbed)
        result.append(layer)
    return result


def _product(node: Node, constants: Mapping[str, Constant]) -> Node:
    """A product as a layer without activation."""
    if node.inputs[1] not in constants:
        raise UnsupportedGraphError(f"operator '{node.operator}' whose second factor is not constant")
    if node.operator == "Gemm":
        defaults: dict[str, float] = {"alpha": 1.0, "beta": 1.0, "transA": 0}
        unusual = {
            name: node.attributes[name]
            for name in defaults
            if node.attributes.get(name, defaults[name]) != defaults[name]
        }
        if unusual or (len(node.inputs) > 2 and node.inputs[2] not in constants):  # noqa: PLR2004
            raise UnsupportedGraphError(f"operator 'Gemm' with {unusual or 'a bias that is not constant'}")
    transposed = bool(node.attributes.get("transB", 0))
    attributes = {"activation": "none", "transposed": transposed}
    inputs = tuple(name for name in node.inputs if name)
    return Node(DENSE, inputs, node.outputs, attributes)


Extension = tuple[Node, list[Node]] | None


def _with_bias(
    layer: Node,
    consumers: Sequence[Node],
    uses: Mapping[str, int],
    constants: Mapping[str, Constant],
    _all: Mapping[str, list[Node]],
) -> Extension:
    """The layer with the constant that is added to it, if that is all that happens to it."""
    value = layer.outputs[0]
    has_bias = len(layer.inputs) > 2  # noqa: PLR2004
    if has_bias or uses[value] != 1 or not consumers or consumers[0].operator != "Add":
        return None
    (other,) = (name for name in consumers[0].inputs if name != value)
    weights = constants[layer.inputs[1]]
    outputs = weights.shape[-2 if layer.attributes["transposed"] else -1]
    if (
        other not in constants
        or constants[other].size == 0
        or constants[other].shape[-1:] not in ((), (1,), (outputs,))
    ):
        return None
    return replace(layer, inputs=(*layer.inputs, other), outputs=consumers[0].outputs), [consumers[0]]


def _with_activation(
    layer: Node,
    consumers: Sequence[Node],
    uses: Mapping[str, int],
    _constants: Mapping[str, Constant],
    all_consumers: Mapping[str, list[Node]],
) -> Extension:
    """The layer with the activation behind it, if that is all that uses it; SiLU is x · sigmoid(x)."""
    value = layer.outputs[0]
    if len(consumers) == 1 and uses[value] == 1 and consumers[0].operator in _ACTIVATIONS:
        activation, absorbed = _ACTIVATIONS[consumers[0].operator], [consumers[0]]
    elif uses[value] == 2 and [node.operator for node in consumers] == ["Sigmoid", "Mul"]:  # noqa: PLR2004
        gate, product = consumers
        if uses[gate.outputs[0]] != 1 or set(product.inputs) != {value, gate.outputs[0]}:
            return None
        activation, absorbed = "silu", [gate, product]
    else:
        return None
    attributes = {**layer.attributes, "activation": activation}
    return replace(layer, outputs=absorbed[-1].outputs, attributes=attributes), absorbed
