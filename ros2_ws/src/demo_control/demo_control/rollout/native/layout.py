"""Which place of the workspace a row has while it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Span = tuple[int, int]
"""(first row, number of rows)."""


class Allocator:
    """Gives blocks of virtual rows places; those of a fixed block stay, others are shared.

    Args:
        sizes: Number of rows of each block, by its first virtual row.
        fixed: First virtual rows of the blocks that keep their place, in the order in which they shall lie.
    """

    def __init__(self, sizes: Mapping[int, int], fixed: Sequence[int]) -> None:
        self._sizes = sizes
        self._block_of = {row: start for start, size in sizes.items() for row in range(start, start + size)}
        self.fixed: dict[int, int] = {}
        next_place = 0
        for start in fixed:
            self.fixed[start] = next_place
            next_place += sizes[start]
        self._num_fixed = next_place
        self.num_rows = next_place

    def place(self, steps: Sequence[tuple[Sequence[Span], Span]]) -> Mapping[int, int]:
        """Places of all rows that one tape uses.

        Args:
            steps: What each instruction reads, and what it writes.

        Returns:
            Real row by virtual row.
        """
        last_use = self._last_uses(steps)
        starts = dict(self.fixed)
        live: dict[int, Span] = {}
        for index, (_, (out, _count)) in enumerate(steps):
            block = self._block_of[out]
            if block not in starts:
                starts[block] = self._free_place(list(live.values()), self._sizes[block])
                live[block] = (starts[block], self._sizes[block])
                self.num_rows = max(self.num_rows, starts[block] + self._sizes[block])
            live = {block: span for block, span in live.items() if last_use[block] > index}
        return {
            start + offset: place + offset for start, place in starts.items() for offset in range(self._sizes[start])
        }

    def _last_uses(self, steps: Sequence[tuple[Sequence[Span], Span]]) -> dict[int, int]:
        """Number of the last instruction that reads or writes each block."""
        last_use: dict[int, int] = {}
        for index, (read, written) in enumerate(steps):
            for first, count in (*read, written):
                for row in range(first, first + count):
                    last_use[self._block_of[row]] = index
        return last_use

    def _free_place(self, taken: list[Span], size: int) -> int:
        """The lowest place behind the fixed rows where ``size`` rows are free."""
        place = self._num_fixed
        for start, count in sorted(taken):
            if start >= place + size:
                break
            place = max(place, start + count)
        return place
