"""The kernel's instructions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Operator(IntEnum):
    """What an instruction does; names and order are those of kernel/program.hpp."""

    COPY = 0
    NEGATE = 1
    ABSOLUTE = 2
    SQUARE_ROOT = 3
    EXPONENTIAL = 4
    SINE = 5
    COSINE = 6
    HYPERBOLIC_TANGENT = 7
    SIGMOID = 8
    RELU = 9
    LOGARITHM = 10
    TANGENT = 11
    ARC_TANGENT = 12
    ERROR_FUNCTION = 13
    EXPONENTIAL_MINUS_ONE = 14
    LOGARITHM_OF_ONE_PLUS = 15
    FLOOR = 16
    CEILING = 17
    NEAREST = 18
    ADD = 19
    SUBTRACT = 20
    MULTIPLY = 21
    DIVIDE = 22
    MAXIMUM = 23
    MINIMUM = 24
    POWER = 25
    ACCUMULATE = 26
    FOLLOW = 27
    DENSE = 28


@dataclass(frozen=True)
class Instruction:
    """See kernel/program.hpp; rows are virtual.

    Attributes:
        operator: What to do.
        out: First of ``count`` rows that are written, one after the other.
        first: First row read.
        second: The same of the second operand; for a layer its number, and -1 where there is none.
        count: How often; for a layer its number of outputs.
        first_step: 1 where the operand moves on by a row each time, 0 where it stays.
        second_step: The same of the second operand.
        inputs: Rows that a layer reads; 0 for all others.
    """

    operator: Operator
    out: int
    first: int
    second: int
    count: int
    first_step: int
    second_step: int
    inputs: int = 0

    def read(self) -> list[tuple[int, int]]:
        """(first row, number of rows) of each operand."""
        if self.operator is Operator.DENSE:
            return [(self.first, self.inputs)]
        if self.operator is Operator.ACCUMULATE:
            return [(self.first, 1), (self.second, self.count)]
        spans = [(self.first, 1 + (self.count - 1) * self.first_step)]
        if self.second >= 0:
            spans.append((self.second, 1 + (self.count - 1) * self.second_step))
        return spans

    def written(self) -> tuple[int, int]:
        """(first row, number of rows) of the result."""
        return self.out, 1 if self.operator is Operator.ACCUMULATE else self.count
