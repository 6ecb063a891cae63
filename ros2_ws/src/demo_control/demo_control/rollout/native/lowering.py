"""ONNX operators as instructions on columns: a value is its features, one row of a tile each.

What an operator does between features of one sample is known here; what it does between samples is nothing, or the
graph is not one for the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from demo_control.rollout.native.graph import DENSE, Constant, Graph, Node, UnsupportedGraphError
from demo_control.rollout.native.instructions import Operator
from demo_control.rollout.native.program import Assembler, Layer, Rows

Value = Rows | Constant

_UNARY = {
    "Abs": Operator.ABSOLUTE,
    "Atan": Operator.ARC_TANGENT,
    "Ceil": Operator.CEILING,
    "Cos": Operator.COSINE,
    "Erf": Operator.ERROR_FUNCTION,
    "Exp": Operator.EXPONENTIAL,
    "Floor": Operator.FLOOR,
    "Log": Operator.LOGARITHM,
    "Neg": Operator.NEGATE,
    "Relu": Operator.RELU,
    "Round": Operator.NEAREST,
    "Sigmoid": Operator.SIGMOID,
    "Sin": Operator.SINE,
    "Sqrt": Operator.SQUARE_ROOT,
    "Tan": Operator.TANGENT,
    "Tanh": Operator.HYPERBOLIC_TANGENT,
}
_BINARY = {
    "Add": Operator.ADD,
    "Div": Operator.DIVIDE,
    "Max": Operator.MAXIMUM,
    "Min": Operator.MINIMUM,
    "Mul": Operator.MULTIPLY,
    "Sub": Operator.SUBTRACT,
    "Sum": Operator.ADD,
}
_MEMBER_RANK = 3
_LARGEST = float(np.finfo(np.float32).max)


class Lowering:
    """Writes graphs to an assembler's current tape.

    Args:
        assembler: Takes the instructions.
        member: Which member's part of constants with a member axis to take.
    """

    def __init__(self, assembler: Assembler, member: int = 0) -> None:
        self._assembler = assembler
        self._member = member
        self._known: dict[tuple[Operator, Rows, Rows | None], Rows] = {}

    def of_member(self, member: int) -> Lowering:
        """Another member's, for the same tape; what both have in common is done once."""
        other = Lowering(self._assembler, member)
        other._known = self._known
        return other

    def lower(self, graph: Graph, inputs: Mapping[str, Rows], outputs: Sequence[str], rank: int) -> list[Rows]:
        """Write a graph.

        Args:
            graph: Of :func:`read_graph`.
            inputs: Rows of the graph's inputs.
            outputs: Names of the wanted outputs.
            rank: Number of axes that the graph's inputs have; the last are the features.

        Returns:
            The rows of the outputs.

        Raises:
            UnsupportedGraphError: An operator, or a use of one, that the kernel does not know.
        """
        values: dict[str, Value] = {**graph.constants, **inputs}
        for node in graph.nodes:
            operands = [values[name] if name else None for name in node.inputs]
            try:
                results = self._node(node, operands, rank)
            except (UnsupportedGraphError, ValueError) as error:
                raise UnsupportedGraphError(f"operator '{node.operator}': {error}") from None
            values.update(zip(node.outputs, results, strict=True))
        return [self._rows(values[name]) for name in outputs]

    def apply(self, operator: Operator, first: Rows, second: Rows | None = None, out: Rows | None = None) -> Rows:
        """An elementwise operation; one that this tape has done before is not done again."""
        if out is not None:
            return self._assembler.apply(operator, first, second, out)
        key = (operator, first, second)
        if key not in self._known:
            self._known[key] = self._assembler.apply(operator, first, second)
        return self._known[key]

    def number(self, value: float) -> Rows:
        """A constant of one column."""
        return (self._assembler.constant(value),)

    def _rows(self, value: Value) -> Rows:
        """The rows of a value; a constant gets rows of its own."""
        if isinstance(value, tuple):
            return value
        if value.dtype != np.float32:
            # Whole numbers have a division of their own.
            raise UnsupportedGraphError(f"a constant of the type {value.dtype}")
        return tuple(self._assembler.constant(float(entry)) for entry in np.atleast_1d(self._of_member(value)))

    def _of_member(self, constant: Constant) -> Constant:
        """The member's part of a constant as features: no axis, or one."""
        if constant.ndim == _MEMBER_RANK:
            constant = constant[self._member if constant.shape[0] > 1 else 0]
        if constant.ndim > 1 and constant.shape[:-1] != (1,) * (constant.ndim - 1):
            raise UnsupportedGraphError(f"a constant of the shape {constant.shape}, one value per sample")
        return constant.reshape(constant.shape[-1:])

    def _node(self, node: Node, operands: Sequence[Value | None], rank: int) -> Sequence[Value]:
        """The outputs of one node."""
        if any(operand is not None and not np.size(operand) for operand in operands):
            raise UnsupportedGraphError("an operand without numbers")
        if node.operator in _SPECIAL:
            return _SPECIAL[node.operator](self, node, operands, rank)
        given = [self._rows(operand) for operand in operands if operand is not None]
        if node.operator in _UNARY:
            return [self.apply(_UNARY[node.operator], given[0])]
        if node.operator in _BINARY:
            result = given[0]
            for other in given[1:]:
                result = self.apply(_BINARY[node.operator], result, other)
            return [result]
        if node.operator in _COMPOSED:
            return [_COMPOSED[node.operator](self, node.attributes, given)]
        raise UnsupportedGraphError("not known to the kernel")

    def dense(self, node: Node, operands: Sequence[Value | None], _rank: int) -> Sequence[Value]:
        """A layer."""
        x, weights, *bias = operands
        if not isinstance(x, tuple) or not isinstance(weights, np.ndarray):
            raise UnsupportedGraphError("the first factor is constant")
        if weights.ndim == _MEMBER_RANK:
            weights = weights[self._member if weights.shape[0] > 1 else 0]
        if weights.ndim != 2:  # noqa: PLR2004
            raise UnsupportedGraphError(f"weights of the shape {weights.shape}")
        if node.attributes["transposed"]:
            weights = weights.T
        if weights.shape[0] != len(x):
            raise UnsupportedGraphError(f"weights of the shape {weights.shape} for {len(x)} inputs")
        added = self._of_member(bias[0]) if bias and isinstance(bias[0], np.ndarray) else np.zeros(1)
        layer = Layer(
            np.ascontiguousarray(weights, np.float32),
            np.ascontiguousarray(np.broadcast_to(added, weights.shape[1:]), np.float32),
            node.attributes["activation"],
        )
        return [self._assembler.layer(x, layer)]

    def identity(self, _node: Node, operands: Sequence[Value | None], _rank: int) -> Sequence[Value]:
        """The operand itself."""
        assert operands[0] is not None
        return [operands[0]]

    def concat(self, node: Node, operands: Sequence[Value | None], rank: int) -> Sequence[Value]:
        """Columns side by side."""
        self._check_axis(node.attributes["axis"], rank)
        return [sum((self._rows(operand) for operand in operands if operand is not None), ())]

    def split(self, node: Node, operands: Sequence[Value | None], rank: int) -> Sequence[Value]:
        """Columns apart."""
        self._check_axis(node.attributes.get("axis", 0), rank)
        assert operands[0] is not None
        rows, parts = self._rows(operands[0]), len(node.outputs)
        if len(operands) > 1 and operands[1] is not None:
            sizes = [int(size) for size in np.asarray(operands[1])]
        else:
            size = -(-len(rows) // parts)
            sizes = [min(size, len(rows) - part * size) for part in range(parts)]
        ends = np.cumsum(sizes)
        return [rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]

    def gather(self, node: Node, operands: Sequence[Value | None], rank: int) -> Sequence[Value]:
        """Some columns."""
        self._check_axis(node.attributes.get("axis", 0), rank)
        rows, indices = operands
        if not isinstance(rows, tuple) or not isinstance(indices, np.ndarray) or indices.ndim != 1:
            raise UnsupportedGraphError("only with a constant list of indices")
        return [tuple(rows[int(index)] for index in indices)]

    def reduce(self, node: Node, operands: Sequence[Value | None], rank: int) -> Sequence[Value]:
        """Sum or mean of all columns."""
        axes = node.attributes.get("axes")
        if axes is None and len(operands) > 1 and operands[1] is not None:
            axes = [int(axis) for axis in np.asarray(operands[1])]
        if axes is None or len(axes) != 1 or not node.attributes.get("keepdims", 1):
            raise UnsupportedGraphError("only over the last axis, which must stay")
        self._check_axis(axes[0], rank)
        assert operands[0] is not None
        rows = self._rows(operands[0])
        total: Rows = rows[:1]
        for row in rows[1:]:
            total = self.apply(Operator.ADD, total, (row,))
        if node.operator == "ReduceSum":
            return [total]
        return [self.apply(Operator.DIVIDE, total, self.number(len(rows)))]

    def clip(self, _node: Node, operands: Sequence[Value | None], _rank: int) -> Sequence[Value]:
        """Limited to a range. An end that is missing is the largest number there is: infinity becomes that."""
        x, *limits = operands
        assert x is not None
        result = self._rows(x)
        lower, upper = (*limits, None, None)[:2]
        for operator, limit, largest in ((Operator.MAXIMUM, lower, -_LARGEST), (Operator.MINIMUM, upper, _LARGEST)):
            result = self.apply(operator, result, self.number(largest) if limit is None else self._rows(limit))
        return [result]

    def power(self, _node: Node, operands: Sequence[Value | None], _rank: int) -> Sequence[Value]:
        """Powers; the second and third as products."""
        base, exponent = operands
        assert base is not None
        assert exponent is not None
        rows = self._rows(base)
        if isinstance(exponent, np.ndarray):
            exponent = exponent.astype(np.float32)
        if isinstance(exponent, np.ndarray) and exponent.size == 1 and exponent.item() in (2.0, 3.0):
            square = self.apply(Operator.MULTIPLY, rows, rows)
            return [square if exponent.item() == 2.0 else self.apply(Operator.MULTIPLY, square, rows)]  # noqa: PLR2004
        return [self.apply(Operator.POWER, rows, self._rows(exponent))]

    def _check_axis(self, axis: int, rank: int) -> None:
        if axis not in (-1, rank - 1):
            raise UnsupportedGraphError(f"along axis {axis}, only along the last")

    def positive(self, rows: Rows) -> Rows:
        """max(x, 0)."""
        return self.apply(Operator.MAXIMUM, rows, self.number(0.0))

    def negative(self, rows: Rows) -> Rows:
        """min(x, 0)."""
        return self.apply(Operator.MINIMUM, rows, self.number(0.0))


Composed = Callable[[Lowering, Mapping[str, Any], Sequence[Rows]], Rows]


def _elu(to: Lowering, attributes: Mapping[str, Any], given: Sequence[Rows]) -> Rows:
    bent = to.apply(Operator.EXPONENTIAL_MINUS_ONE, to.negative(given[0]))
    scaled = to.apply(Operator.MULTIPLY, bent, to.number(attributes.get("alpha", 1.0)))
    return to.apply(Operator.ADD, to.positive(given[0]), scaled)


def _leaky_relu(to: Lowering, attributes: Mapping[str, Any], given: Sequence[Rows]) -> Rows:
    scaled = to.apply(Operator.MULTIPLY, to.negative(given[0]), to.number(attributes.get("alpha", 0.01)))
    return to.apply(Operator.ADD, to.positive(given[0]), scaled)


def _reciprocal(to: Lowering, _attributes: Mapping[str, Any], given: Sequence[Rows]) -> Rows:
    return to.apply(Operator.DIVIDE, to.number(1.0), given[0])


def _softplus(to: Lowering, _attributes: Mapping[str, Any], given: Sequence[Rows]) -> Rows:
    """max(x, 0) + log(1 + exp(−|x|)), which no x overflows."""
    decay = to.apply(Operator.EXPONENTIAL, to.apply(Operator.NEGATE, to.apply(Operator.ABSOLUTE, given[0])))
    return to.apply(Operator.ADD, to.positive(given[0]), to.apply(Operator.LOGARITHM_OF_ONE_PLUS, decay))


def _softsign(to: Lowering, _attributes: Mapping[str, Any], given: Sequence[Rows]) -> Rows:
    size = to.apply(Operator.ADD, to.apply(Operator.ABSOLUTE, given[0]), to.number(1.0))
    return to.apply(Operator.DIVIDE, given[0], size)


_COMPOSED: dict[str, Composed] = {
    "Elu": _elu,
    "LeakyRelu": _leaky_relu,
    "Reciprocal": _reciprocal,
    "Softplus": _softplus,
    "Softsign": _softsign,
}
_SPECIAL: dict[str, Callable[[Lowering, Node, Sequence[Value | None], int], Sequence[Value]]] = {
    DENSE: Lowering.dense,
    "Clip": Lowering.clip,
    "Concat": Lowering.concat,
    "Gather": Lowering.gather,
    "Identity": Lowering.identity,
    "Pow": Lowering.power,
    "ReduceMean": Lowering.reduce,
    "ReduceSum": Lowering.reduce,
    "Split": Lowering.split,
}
