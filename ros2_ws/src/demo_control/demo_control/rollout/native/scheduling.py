"""Fewer instructions for the same numbers: each costs the interpreter as much as a row or two of arithmetic.

Cost terms and transitions are written column by column. Operations of one kind that do not depend on each other
become one instruction where their columns lie side by side, sums of columns become one, and results are written
where they are wanted rather than copied. The arithmetic of each number stays exactly what it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

from demo_control.rollout.native.instructions import Instruction, Operator

_SHORTEST_SUM = 2


def schedule(
    tape: Sequence[Instruction], sizes: Mapping[int, int], fixed: Container[int], new_block: Callable[[int], int]
) -> list[Instruction]:
    """Rewrite one tape.

    Args:
        tape: Single-assignment but for rows of fixed blocks.
        sizes: Number of rows of each block, by its first row.
        fixed: Rows that keep their place in all tapes.
        new_block: Makes a temporary block of that many rows; returns its first row.

    Returns:
        A tape with the same effect on the fixed rows.
    """
    steps = _without_copies(tape, sizes, fixed)
    steps = _merged(steps, sizes, fixed, new_block)
    return _with_sums(steps, fixed)


def _rows_read(step: Instruction) -> list[int]:
    return [row for first, count in step.read() for row in range(first, first + count)]


def _rows_written(step: Instruction) -> range:
    first, count = step.written()
    return range(first, first + count)


def _without_copies(tape: Sequence[Instruction], sizes: Mapping[int, int], fixed: Container[int]) -> list[Instruction]:
    """Write a row of its own directly to the fixed row that it is copied to, if that has no other use."""
    uses = Counter(row for step in tape for row in (*_rows_read(step), *_rows_written(step)))
    makers = {step.out: step for step in tape if step.written()[1] == 1}
    moved: dict[int, int] = {}
    kept = []
    for step in tape:
        source, target = step.first, step.out
        if (
            step.operator is Operator.COPY
            and step.count == 1
            and target in fixed
            and uses[target] == 1
            and source not in fixed
            and source not in moved
            and sizes[source] == 1
            and source in makers
        ):
            moved[source] = target
        else:
            kept.append(step)
    return [_with_rows(step, moved) for step in kept]


def _with_rows(step: Instruction, moved: Mapping[int, int]) -> Instruction:
    """The instruction after blocks have moved, by the first row of what it uses."""
    return replace(
        step,
        out=moved.get(step.out, step.out),
        first=moved.get(step.first, step.first),
        second=step.second if step.operator is Operator.DENSE else moved.get(step.second, step.second),
    )


def _levels(tape: Sequence[Instruction]) -> list[int]:
    """How many instructions must come before each at least, one after the other."""
    written: dict[int, int] = {}
    read: dict[int, int] = {}
    levels = []
    for step in tape:
        level = max((written.get(row, -1) + 1 for row in _rows_read(step)), default=0)
        for row in _rows_written(step):
            level = max(level, written.get(row, -1) + 1, read.get(row, -1) + 1)
        for row in _rows_read(step):
            read[row] = max(read.get(row, -1), level)
        for row in _rows_written(step):
            written[row] = level
        levels.append(level)
    return levels


def _merged(
    tape: Sequence[Instruction], sizes: Mapping[int, int], fixed: Container[int], new_block: Callable[[int], int]
) -> list[Instruction]:
    """Put operations of one kind together that wait for the same, where their operands follow one another."""
    groups: dict[tuple[int, int], list[Instruction]] = {}
    order = sorted(zip(_levels(tape), tape, strict=True), key=lambda pair: pair[0])
    for number, (level, step) in enumerate(order):
        # What cannot be merged has a group of its own.
        own_way = step.operator in (Operator.DENSE, Operator.FOLLOW)
        alone = own_way or step.out in fixed or sizes.get(step.out) != step.count
        groups.setdefault((level, -1 - number if alone else int(step.operator)), []).append(step)
    moved: dict[int, int] = {}
    result = []
    for group in groups.values():
        for chain in _chains(group):
            step = chain[0]
            if len(chain) > 1:
                out = new_block(sum(part.count for part in chain))
                step = _joined(chain, out)
                for part in chain:
                    moved.update({part.out + offset: out + offset for offset in range(part.count)})
                    out += part.count
            result.append(step)
    return [_with_rows(step, moved) for step in result]


def _chains(group: Sequence[Instruction]) -> list[list[Instruction]]:
    """Instructions that follow one another, each in one chain."""
    waiting = list(group)
    chains = []
    while waiting:
        chain = [waiting.pop(0)]
        follower: Instruction | None = chain[0]
        while follower is not None:
            joined = _joined(chain, 0)
            follower = next((other for other in waiting if _follows(joined, other)), None)
            if follower is not None:
                waiting.remove(follower)
                chain.append(follower)
        chains.append(chain)
    return chains


def _joined(chain: Sequence[Instruction], out: int) -> Instruction:
    """One instruction for a chain; the steps of single rows follow from where the next one is."""
    first, count = chain[0], sum(part.count for part in chain)
    if len(chain) == 1:
        return replace(first, out=out)
    following = chain[1]
    return replace(
        first,
        out=out,
        count=count,
        first_step=0 if following.first == first.first else 1,
        second_step=0 if following.second == first.second else 1,
    )


def _follows(step: Instruction, other: Instruction) -> bool:
    """Whether ``other`` goes on where ``step`` ends, with both operands."""
    operands = (
        (step.first, step.first_step, other.first, other.first_step),
        (step.second, step.second_step, other.second, other.second_step),
    )
    for start, stride, next_start, next_stride in operands:
        stays = next_start == start and (step.count == 1 or stride == 0) and (other.count == 1 or next_stride == 0)
        moves = next_start == start + step.count and (step.count == 1 or stride == 1)
        moves = moves and (other.count == 1 or next_stride == 1) and start >= 0
        if not (stays or moves):
            return False
    return True


def _with_sums(tape: Sequence[Instruction], fixed: Container[int]) -> list[Instruction]:
    """((a + b) + c) + … as one instruction, where b, c, … lie side by side."""
    uses = Counter(row for step in tape for row in _rows_read(step))
    makers: dict[int, int] = {}
    steps: list[Instruction | None] = list(tape)
    for number, step in enumerate(tape):
        if step.operator is not Operator.ADD or step.count != 1:
            continue
        before = makers.get(step.first)
        earlier = steps[before] if before is not None else None
        if (
            before is not None
            and earlier is not None
            and step.second == earlier.second + earlier.count
            and uses[step.first] == 1
            and step.first not in fixed
        ):
            step = replace(  # noqa: PLW2901
                earlier, operator=Operator.ACCUMULATE, out=step.out, count=earlier.count + 1, second_step=1
            )
            steps[before], steps[number] = None, step
        makers[step.out] = number
    return [_restored(step) for step in steps if step is not None]


def _restored(step: Instruction) -> Instruction:
    """A sum of too few stays an addition."""
    if step.operator is Operator.ACCUMULATE and step.count < _SHORTEST_SUM:
        return replace(step, operator=Operator.ADD, second_step=0)
    return step
