"""Building, composing and running ONNX graphs: the one place that knows the opset and the session settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.inliner
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9
"""Old enough for every ONNX Runtime since 1.16, which is what a robot may have."""

_OWN_DOMAINS = ("", "ai.onnx")

Dimension = int | str | None
"""A size, the name of a free one, or None for a free one without name."""


class GraphBuilder:
    """Builds one float32 ONNX graph node by node; values are referred to by their name (a str).

    Args:
        name: The graph's name.
        prefix: Begins the names of all its values: a sub-graph's must differ from those of the graph around it.
    """

    def __init__(self, name: str, prefix: str = "") -> None:
        self._name = name
        self._prefix = prefix
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._constants: dict[tuple[bytes, str, tuple[int, ...]], str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[Dimension]) -> str:
        """Declare a graph input."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, name: str, value: str, shape: Sequence[Dimension]) -> None:
        """Declare that ``value`` leaves the graph under ``name``."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"{self._prefix}out_{name}"))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, array: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """A constant; equal constants are stored once."""
        # Not ascontiguousarray: it would turn a scalar into a vector.
        values = np.array(array, dtype=dtype, order="C")
        key = (values.tobytes(), values.dtype.str, values.shape)
        if key not in self._constants:
            name = f"{self._prefix}const_{len(self._constants)}"
            self._initializers[name] = numpy_helper.from_array(values, name)
            self._constants[key] = name
        return self._constants[key]

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - as ONNX defines them
        """Add an operator with one output; returns the output's name."""
        return self.split_node(op, inputs, 1, **attributes)[0]

    def split_node(
        self,
        op: str,
        inputs: Sequence[str],
        num_outputs: int,
        **attributes: Any,  # noqa: ANN401 - as ONNX defines them
    ) -> list[str]:
        """Add an operator with several outputs; returns their names."""
        index = len(self._nodes)
        outputs = [f"{self._prefix}v{index}_{i}" for i in range(num_outputs)]
        name = f"{self._prefix}n{index}"
        self._nodes.append(helper.make_node(op, list(inputs), outputs, name=name, **attributes))
        return outputs

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """Reshape; -1 means 'whatever is left'."""
        return self.node("Reshape", value, self.constant(shape, np.int64))

    def inline(
        self, model: onnx.ModelProto, prefix: str, inputs: Mapping[str, str], outputs: Sequence[str]
    ) -> list[str]:
        """Insert a model's graph; only the nodes that ``outputs`` need are copied.

        Its constants are stored once per ``prefix``, however often the model is inserted.

        Args:
            model: Without functions of its own; see :func:`without_functions`.
            prefix: Names this model's constants in the composed graph.
            inputs: Values for the model's inputs, by input name.
            outputs: The wanted outputs.

        Returns:
            The names of the wanted outputs in this graph.
        """
        wanted = set(outputs)
        needed: list[onnx.NodeProto] = []
        for node in reversed(model.graph.node):
            if wanted.intersection(node.output):
                needed.append(node)
                wanted.update(_names_read(node))
        names = dict(inputs)
        for initializer in model.graph.initializer:
            if initializer.name in wanted:
                names[initializer.name] = self._stored(initializer, f"{prefix}/{initializer.name}")
        copy = len(self._nodes)
        for node in reversed(needed):
            renamed = onnx.NodeProto()
            renamed.CopyFrom(node)
            renamed.name = f"{self._prefix}n{len(self._nodes)}"
            names.update({name: f"{prefix}/{copy}/{name}" for name in node.output if name})
            _rename(renamed, names, f"{prefix}/{copy}")
            self._nodes.append(renamed)
        return [names[name] for name in outputs]

    def _stored(self, initializer: onnx.TensorProto, name: str) -> str:
        """Store a copied initializer under ``name`` unless it is there."""
        if name not in self._initializers:
            copied = onnx.TensorProto()
            copied.CopyFrom(initializer)
            copied.name = name
            self._initializers[name] = copied
        return name

    def graph(self) -> onnx.GraphProto:
        """The graph by itself, for a node that contains one; it may use values of the graph around it."""
        return helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, list(self._initializers.values())
        )

    def build(self, inlined: Sequence[onnx.ModelProto] = ()) -> onnx.ModelProto:
        """The checked model.

        Args:
            inlined: Models whose graphs were inserted; their operator sets other than ONNX's own are imported.
        """
        imported = [entry for model in inlined for entry in model.opset_import]
        others = {entry.domain: entry.version for entry in imported if entry.domain not in _OWN_DOMAINS}
        model = helper.make_model(
            self.graph(),
            opset_imports=[helper.make_opsetid(*entry) for entry in {"": OPSET, **others}.items()],
            ir_version=IR_VERSION,
            producer_name="demo_control",
        )
        onnx.checker.check_model(model)
        return model


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with the nodes of its functions in their place."""
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs that a node of control flow holds."""
    return [graph for entry in node.attribute for graph in ([entry.g] if entry.HasField("g") else entry.graphs)]


def _own_names(graph: onnx.GraphProto) -> set[str]:
    """What a graph itself names: inputs, constants, results."""
    return {value.name for value in (*graph.input, *graph.initializer)} | {
        name for node in graph.node for name in node.output if name
    }


def _names_read(node: onnx.NodeProto) -> set[str]:
    """What a node takes; its graphs may take values of the graph around them."""
    names = {name for name in node.input if name}
    for graph in _subgraphs(node):
        read = {value.name for value in graph.output}.union(*map(_names_read, graph.node))
        names |= read - _own_names(graph)
    return names


def _rename(node: onnx.NodeProto, names: Mapping[str, str], prefix: str) -> None:
    """Give a node's values, and those of the graphs in it, other names; own ones of these graphs get the prefix."""
    for values in (node.input, node.output):
        values[:] = [names[name] if name else "" for name in values]
    for graph in _subgraphs(node):
        inside = {**names, **{name: f"{prefix}/{name}" for name in _own_names(graph)}}
        for value in (*graph.input, *graph.initializer, *graph.output):
            value.name = inside[value.name]
        del graph.value_info[:]
        for part in graph.node:
            _rename(part, inside, prefix)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's default operator set that a model uses."""
    versions = [entry.version for entry in model.opset_import if entry.domain in _OWN_DOMAINS]
    return int(versions[0]) if versions else 0


def make_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session for the control path: one thread, and no busy waiting beside it.

    ONNX Runtime's own threads synchronise at every node, which costs more than it brings for graphs of a few
    milliseconds, and its spinning threads would take the second core from the driver.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
