"""Cost terms as ONNX nodes: the same Python function that NumPy evaluates draws its own graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from demo_control.configuration import ConfigurationError
from demo_control.onnx_graph import GraphBuilder
from demo_control.plugins import in_one_line
from demo_control.tasks import CostTerm, Task
from demo_control.transitions import next_columns


class GraphValue:
    """A value of a graph under construction; arithmetic on it adds nodes."""

    def __init__(self, graph: GraphBuilder, name: str) -> None:
        self.graph = graph
        self.name = name

    def _apply(self, op: str, *operands: GraphValue | float) -> GraphValue:
        names = [
            operand.name if isinstance(operand, GraphValue) else self.graph.constant(operand) for operand in operands
        ]
        return GraphValue(self.graph, self.graph.node(op, *names))

    def __add__(self, other: GraphValue | float) -> GraphValue:
        return self._apply("Add", self, other)

    def __radd__(self, other: float) -> GraphValue:
        return self._apply("Add", other, self)

    def __sub__(self, other: GraphValue | float) -> GraphValue:
        return self._apply("Sub", self, other)

    def __rsub__(self, other: float) -> GraphValue:
        return self._apply("Sub", other, self)

    def __mul__(self, other: GraphValue | float) -> GraphValue:
        return self._apply("Mul", self, other)

    def __rmul__(self, other: float) -> GraphValue:
        return self._apply("Mul", other, self)

    def __truediv__(self, other: GraphValue | float) -> GraphValue:
        return self._apply("Div", self, other)

    def __rtruediv__(self, other: float) -> GraphValue:
        return self._apply("Div", other, self)

    def __neg__(self) -> GraphValue:
        return self._apply("Neg", self)

    def __pow__(self, exponent: float) -> GraphValue:
        # A square as a product: several times faster than Pow, and exact for negative bases.
        if exponent == 2:  # noqa: PLR2004
            return self._apply("Mul", self, self)
        return self._apply("Pow", self, exponent)


class GraphNamespace:
    """The functions of :class:`demo_control.tasks.Namespace` for :class:`GraphValue`."""

    @staticmethod
    def _unary(op: str, x: GraphValue) -> GraphValue:
        return GraphValue(x.graph, x.graph.node(op, x.name))

    @staticmethod
    def _binary(op: str, x: GraphValue | float, y: GraphValue | float) -> GraphValue:
        graph = x.graph if isinstance(x, GraphValue) else y.graph  # type: ignore[union-attr]
        names = [v.name if isinstance(v, GraphValue) else graph.constant(v) for v in (x, y)]
        return GraphValue(graph, graph.node(op, *names))

    def abs(self, x: GraphValue, /) -> GraphValue:
        """Absolute value."""
        return self._unary("Abs", x)

    def cos(self, x: GraphValue, /) -> GraphValue:
        """Cosine of radians."""
        return self._unary("Cos", x)

    def exp(self, x: GraphValue, /) -> GraphValue:
        """Exponential."""
        return self._unary("Exp", x)

    def maximum(self, x: GraphValue | float, y: GraphValue | float, /) -> GraphValue:
        """Elementwise maximum."""
        return self._binary("Max", x, y)

    def minimum(self, x: GraphValue | float, y: GraphValue | float, /) -> GraphValue:
        """Elementwise minimum."""
        return self._binary("Min", x, y)

    def sin(self, x: GraphValue, /) -> GraphValue:
        """Sine of radians."""
        return self._unary("Sin", x)

    def sqrt(self, x: GraphValue, /) -> GraphValue:
        """Square root."""
        return self._unary("Sqrt", x)


def draw_term(term: CostTerm, x: Mapping[str, GraphValue], u: Mapping[str, GraphValue]) -> str:
    """Draw a cost term; returns the name of its column.

    Args:
        term: The term.
        x: Columns of the observation by name.
        u: Columns of the action by name.

    Raises:
        ConfigurationError: Its function cannot be drawn, or depends on none of them.
    """
    with in_one_line(f"cost term '{term.name}'"):
        value = term.function(x, u, GraphNamespace())
    if not isinstance(value, GraphValue):
        raise ConfigurationError(f"cost term '{term.name}': {value!r}, must depend on observation or action")
    return value.name


def check_drawable(task: Task) -> None:
    """Find out before long work whether a task's cost and transition can be drawn; NumPy takes more than that.

    Args:
        task: The task; both are those of its planning problem.

    Raises:
        ConfigurationError: A term or the transition cannot be drawn.
    """
    problem, graph = task.planning_problem, GraphBuilder("planning")

    def columns_of(names: Iterable[str]) -> dict[str, GraphValue]:
        return {name: GraphValue(graph, graph.input(name, ["batch", 1])) for name in names}

    x, u = (columns_of(one.name for one in vector) for vector in (problem.observation, problem.action))
    for term in problem.cost_terms:
        draw_term(term, x, u)
    if problem.transition is not None:
        y = columns_of(problem.transition.outputs)
        next_columns(problem, list(x.values()), list(y.values()), list(u.values()), GraphNamespace())
