"""An ensemble of one member as a graph on matrices instead of stacks of one matrix.

ONNX Runtime fuses a product of matrices with its bias and activation, but not a product of stacks. (For several members
a stack each is better: fewer calls of its operators.)
"""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

_MEMBER_RANK = 3
_COLUMN_OPERATORS = frozenset({"Concat", "Split", "Gather"})
_SAFE_OPERATORS = _COLUMN_OPERATORS | {
    "Abs", "Add", "Atan", "Ceil", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Identity", "LeakyRelu", "Log",
    "MatMul", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sin", "Softplus",
    "Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh",
}  # fmt: skip
"""What means the same for a matrix as for each of a stack of matrices, along the last axis or for each number."""


def on_matrices(dynamics: onnx.ModelProto) -> onnx.ModelProto | None:
    """The graph of a single member on matrices, or None where that is not simply one axis less.

    Args:
        dynamics: ``observation (1, batch, n), action (1, batch, m)`` and what follows from them.

    Returns:
        ``observation (batch, n), action (batch, m)`` and the same; for :meth:`GraphBuilder.inline`, which takes nodes
        and constants only.
    """
    for node in dynamics.graph.node:
        axes = [entry.i for entry in node.attribute if entry.name == "axis"]
        if node.op_type not in _SAFE_OPERATORS or node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type in _COLUMN_OPERATORS and axes not in ([-1], [_MEMBER_RANK - 1]):
            return None
    model = onnx.ModelProto()
    model.CopyFrom(dynamics)
    for tensor in model.graph.initializer:
        if len(tensor.dims) > _MEMBER_RANK or (len(tensor.dims) == _MEMBER_RANK and tensor.dims[0] != 1):
            return None
        if len(tensor.dims) == _MEMBER_RANK:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[0].copy(), tensor.name))
    for node in model.graph.node:
        for entry in node.attribute:
            if entry.name == "axis":
                entry.CopyFrom(helper.make_attribute("axis", -1))
    return model
