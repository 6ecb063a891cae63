"""A rollout as the kernel runs it: tapes of instructions on rows, where a row is one number for every sample.

Everything is written in single-assignment form on *virtual* rows first; :meth:`Assembler.assemble` then gives rows
that are not needed at the same time the same place, so that a tile of samples stays small.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from demo_control.rollout.native.instructions import Instruction, Operator
from demo_control.rollout.native.layout import Allocator
from demo_control.rollout.native.matrix_unit import pays_for_layer, tape_cycles
from demo_control.rollout.native.scheduling import schedule

Rows = tuple[int, ...]
"""Numbers of virtual rows: the features of one value."""

Integers = npt.NDArray[np.int32]


_FIRST_CONSTANT = 1 << 24
"""Virtual rows of constants begin here: they are consecutive where their places are."""

ACTIVATIONS = ("none", "relu", "hyperbolic_tangent", "sigmoid", "silu")
"""What a layer may end with; order as in kernel/program.hpp."""


@dataclass(frozen=True)
class Layer:
    """activation(x W + b).

    Attributes:
        weights: W. Shape=(inputs, outputs).
        bias: b. Shape=(outputs,).
        activation: One of :data:`ACTIVATIONS`.
    """

    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    activation: str

    def key(self) -> bytes:
        """Equal for equal layers."""
        digest = hashlib.sha256(f"{self.weights.shape} {self.activation}".encode())
        digest.update(self.weights.tobytes())
        digest.update(self.bias.tobytes())
        return digest.digest()


@dataclass(frozen=True)
class Program:
    """Tapes and numbers as the kernel's C interface takes them.

    Attributes:
        code: One instruction per line. Shape=(num_instructions, 7).
        tapes: Where each tape starts and stops in ``code``. Shape=(num_tapes, 2).
        layers: Offset of weights and of bias in ``numbers``, inputs, outputs, activation, whether it is one for the
            matrix unit. Shape=(num_layers, 6).
        numbers: Of all layers.
        constants: One per constant row.
        blocks: First row of each named block.
        num_rows: Rows of a workspace.
        operations: Floating-point operations of one sample in each tape's layers, activations not counted.
            Shape=(num_tapes,).
        cycles: Estimates for each tape, by vectors alone and with the matrix unit; see :mod:`matrix_unit`.
            Shape=(num_tapes, 2).
    """

    code: Integers
    tapes: Integers
    layers: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float32]
    constants: npt.NDArray[np.float32]
    blocks: Mapping[str, int]
    num_rows: int
    operations: npt.NDArray[np.int64]
    cycles: npt.NDArray[np.float64]


class Assembler:
    """Collects the tapes of one program."""

    def __init__(self) -> None:
        self._blocks: dict[str, Rows] = {}
        self._constants: dict[bytes, int] = {}
        self._layers: list[Layer] = []
        self._layer_numbers: dict[bytes, int] = {}
        self._tapes: list[list[Instruction]] = []
        self._sizes: dict[int, int] = {}
        self._next = 0

    def block(self, name: str, size: int) -> Rows:
        """Rows that keep their place in all tapes; blocks lie one behind the other."""
        self._blocks[name] = self._new(size)
        self._next -= 1
        return self._blocks[name]

    def constant(self, value: float) -> int:
        """The row that holds ``value`` in every sample."""
        key = np.float32(value).tobytes()
        if key not in self._constants:
            row = _FIRST_CONSTANT + len(self._constants)
            self._constants[key], self._sizes[row] = row, 1
        return self._constants[key]

    def begin(self) -> None:
        """Begin the next tape; temporary rows of the one before are no longer valid."""
        self._tapes.append([])

    def layer(self, rows: Rows, layer: Layer, out: Rows | None = None) -> Rows:
        """Add a layer; ``rows`` are brought side by side where they are not."""
        key = layer.key()
        if key not in self._layer_numbers:
            self._layer_numbers[key] = len(self._layers)
            self._layers.append(layer)
        if not _consecutive(rows):
            rows = self.copy(rows)
        inputs, outputs = layer.weights.shape
        result = self._new(outputs) if out is None else out
        self._tapes[-1].append(
            Instruction(Operator.DENSE, result[0], rows[0], self._layer_numbers[key], outputs, 1, 1, inputs)
        )
        return result

    def copy(self, rows: Rows, out: Rows | None = None) -> Rows:
        """Copy rows to a place of their own, or to ``out``."""
        return self.apply(Operator.COPY, rows, None, out)

    def apply(self, operator: Operator, first: Rows, second: Rows | None = None, out: Rows | None = None) -> Rows:
        """Add an elementwise operation; an operand with one row is used for all rows of the other.

        Raises:
            ValueError: Operands whose numbers of rows do not fit.
        """
        sizes = {len(first), len(first if second is None else second)}
        size = max(sizes)
        if not sizes <= {1, size}:
            raise ValueError(f"operands of {len(first)} and {len(second or ())} columns")
        first = first * size if len(first) == 1 else first
        paired = (-1,) * size if second is None else second * size if len(second) == 1 else second
        result = self._new(size) if out is None else out
        start = 0
        for stop, first_step, second_step in _runs(result, first, paired):
            self._tapes[-1].append(
                Instruction(operator, result[start], first[start], paired[start], stop - start, first_step, second_step)
            )
            start = stop
        return result

    def follow(self, prediction: Rows, state: Rows, out: Rows | None = None) -> Rows:
        """The state after a prediction: state + (prediction − state) · change_scale + change_offset."""
        if not _consecutive(prediction):
            prediction = self.copy(prediction)
        size = len(state)
        result = self._new(size) if out is None else out
        self._tapes[-1].append(Instruction(Operator.FOLLOW, result[0], prediction[0], state[0], size, 1, 1))
        return result

    def _new(self, size: int) -> Rows:
        """Consecutive virtual rows; a gap behind them, as the next ones need not get the place behind theirs."""
        start = self._next
        self._next += size + 1
        self._sizes[start] = size
        return tuple(range(start, start + size))

    def assemble(self) -> Program:
        """Give every row its place."""
        fixed = [*self._blocks.values(), *((row,) for row in self._constants.values())]
        fixed_rows = frozenset(row for rows in fixed for row in rows)
        tapes = [schedule(tape, self._sizes, fixed_rows, lambda size: self._new(size)[0]) for tape in self._tapes]
        allocator = Allocator(self._sizes, [rows[0] for rows in fixed])
        code: list[tuple[int, ...]] = []
        spans, operations, cycles = [], [], []
        for tape in tapes:
            places = allocator.place([(step.read(), step.written()) for step in tape])
            start = len(code)
            code.extend(_placed(step, places) for step in tape)
            spans.append((start, len(code)))
            operations.append(sum(2 * step.inputs * step.count for step in tape))
            cycles.append(self._cycles(tape))
        numbers, layers = self._numbers()
        return Program(
            code=np.array(code, np.int32).reshape(-1, 7),
            tapes=np.array(spans, np.int32),
            layers=np.array(layers, np.int64).reshape(-1, 6),
            numbers=numbers,
            constants=np.array([np.frombuffer(key, np.float32)[0] for key in self._constants], np.float32),
            blocks={name: allocator.fixed[rows[0]] for name, rows in self._blocks.items()},
            num_rows=allocator.num_rows,
            operations=np.array(operations, np.int64),
            cycles=np.array(cycles, np.float64).reshape(-1, 2),
        )

    def _cycles(self, tape: Sequence[Instruction]) -> tuple[float, float]:
        """Estimates for a tape; see :class:`Program`."""
        layers = [self._layers[step.second] for step in tape if step.operator is Operator.DENSE]
        others = [step.count for step in tape if step.operator is not Operator.DENSE]
        return tape_cycles([(*layer.weights.shape, layer.activation) for layer in layers], others)

    def _numbers(self) -> tuple[npt.NDArray[np.float32], list[tuple[int, ...]]]:
        """All layers' numbers one behind the other, and the table of layers."""
        parts: list[npt.NDArray[np.float32]] = [np.zeros(1, np.float32)]
        table: list[tuple[int, ...]] = []
        offset = 1
        for layer in self._layers:
            inputs, outputs = layer.weights.shape
            bias = offset + layer.weights.size
            matrix = int(pays_for_layer(inputs, outputs, layer.activation))
            table.append((offset, bias, inputs, outputs, ACTIVATIONS.index(layer.activation), matrix))
            parts += [layer.weights.ravel(), layer.bias.ravel()]
            offset = bias + layer.bias.size
        return np.concatenate(parts).astype(np.float32), table


def _consecutive(rows: Sequence[int]) -> bool:
    return all(after == before + 1 for before, after in pairwise(rows))


def _runs(result: Rows, first: Rows, second: Rows) -> list[tuple[int, int, int]]:
    """Parts in which the result moves on row by row and each operand moves on or stays: (stop, first step, second)."""
    runs, start, size = [], 0, len(result)
    while start < size:
        stop = start + 1
        steps = (0, 0)
        if stop < size:
            steps = (first[stop] - first[start], second[stop] - second[start])
        if not set(steps) <= {0, 1} or (stop < size and result[stop] != result[start] + 1):
            steps = (0, 0)
        else:
            while (
                stop < size
                and result[stop] == result[stop - 1] + 1
                and (first[stop] - first[stop - 1], second[stop] - second[stop - 1]) == steps
            ):
                stop += 1
        runs.append((stop, *steps))
        start = stop
    return runs


def _placed(step: Instruction, places: Mapping[int, int]) -> tuple[int, ...]:
    """An instruction with real rows, as the kernel takes it."""
    second = step.second
    if step.operator is not Operator.DENSE:
        second = places[second] if second >= 0 else places[step.first]
    return (
        int(step.operator), places[step.out], places[step.first], second, step.count, step.first_step,
        step.second_step,
    )  # fmt: skip
