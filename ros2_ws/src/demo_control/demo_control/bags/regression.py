"""Whether recordings are worse than others beyond noise.

Intervals: percentile bootstrap over recordings (B. Efron, *Annals of Statistics* 7, 1979), over blocks of time where a
side is a single recording. Verdict: permutation tests, which keep their level however few recordings there are (R. A.
Fisher, *The Design of Experiments*, 1935), of differences in units of their standard error, which keep it also where
one side has fewer or shorter recordings, that vary more (A. Janssen, *Statistics & Probability Letters* 36, 1997),
corrected for many figures by S. Holm (*Scandinavian Journal of Statistics* 6, 1979), and a smallest difference that
matters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from demo_control.bags.errors import BagError
from demo_control.bags.figures import Figure, Sums, by_block, by_recording, known_figures
from demo_control.tasks import Array

LEVEL = 0.05
RESAMPLES = 4000
_TOLERANCE = 1e-9
_MOST_UNITS = 1000
"""Of a side: more say hardly more, and resampling them would fill the memory."""


@dataclass(frozen=True)
class Comparison:
    """One figure on both sides; None where it cannot be said.

    Attributes:
        figure: Which.
        baseline: On side A.
        candidate: On side B.
        interval: 95 % interval of B − A.
        probabilities: Of a difference as bad as this one or worse if both sides were alike, and of one as good or
            better; not corrected.
        verdict: 'worse', 'better', 'same' (neither, or too small to matter) or 'unknown'.
        ways: To share out all units; a probability is at least one of them.
    """

    figure: Figure
    baseline: float | None
    candidate: float | None
    interval: tuple[float, float] | None
    probabilities: tuple[float, float] | None
    verdict: str
    ways: int = 0

    @property
    def difference(self) -> float | None:
        """B − A."""
        return None if self.baseline is None or self.candidate is None else self.candidate - self.baseline

    def to_json(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "figure": self.figure.name,
            "text": self.figure.text,
            "better": "less" if self.figure.sign > 0 else "more",
            "decides": self.figure.decides,
            "a": self.baseline,
            "b": self.candidate,
            "difference": self.difference,
            "interval": None if self.interval is None else list(self.interval),
            "probability_worse": None if self.probabilities is None else self.probabilities[0],
            "probability_better": None if self.probabilities is None else self.probabilities[1],
            "verdict": self.verdict,
        }


def compare(
    baseline: Sequence[Mapping[str, Any]], candidate: Sequence[Mapping[str, Any]], seed: int = 0, draws: int = RESAMPLES
) -> dict[str, object]:
    """Compare recordings with a baseline.

    Args:
        baseline: Evaluations, as :func:`demo_control.bags.evaluation.evaluate_bag` makes them; at least one.
        candidate: The same.
        seed: Of resampling.
        draws: How often to resample, and to share the units out anew where there are more ways.

    Returns:
        Ready for JSON; ``worse`` says whether any figure that decides is worse beyond noise, ``too_few`` whether there
        are too few units for any to be, ``unknown_in_a`` and ``unknown_in_b`` which of them only the other side has.

    Raises:
        BagError: Recordings of different robots.
    """
    robots = sorted({str(result["task"]) for result in (*baseline, *candidate)})
    if len(robots) > 1:
        raise BagError(f"recordings of different robots cannot be compared: {', '.join(robots)}")
    both = [*baseline, *candidate]
    single = min(len(baseline), len(candidate)) == 1
    chance = _Chance(seed, draws)
    rows = [_compared(figure, *_sides(baseline, candidate, figure, single), chance) for figure in known_figures(both)]
    # Two families: what is only told must not make it harder to see what decides.
    rows = [row for told in (True, False) for row in _judged([r for r in rows if r.figure.decides is told])]
    deciding = [row for row in rows if row.figure.decides]
    judged = [row for row in deciding if row.ways]
    return {
        "robot": robots[0],
        "a": {"bags": [result["bag"] for result in baseline]},
        "b": {"bags": [result["bag"] for result in candidate]},
        "units": "blocks of time" if single else "recordings",
        "level": LEVEL,
        "figures": [row.to_json() for row in rows],
        "worse": any(row.verdict == "worse" for row in deciding),
        "too_few": bool(judged) and all(1.0 / row.ways > LEVEL / len(judged) for row in judged),
        "unknown_in_a": [row.figure.name for row in deciding if row.baseline is None and row.candidate is not None],
        "unknown_in_b": [row.figure.name for row in deciding if row.candidate is None and row.baseline is not None],
    }


def _sides(
    baseline: Sequence[Mapping[str, Any]], candidate: Sequence[Mapping[str, Any]], figure: Figure, single: bool
) -> tuple[Sums, Sums]:
    """What is resampled on each side: the same kind of unit on both."""
    if not single:
        return by_recording(baseline, figure), by_recording(candidate, figure)
    sides = []
    for side in (baseline, candidate):
        parts = [by_block(result, figure) for result in side]
        sides.append(
            Sums(
                np.concatenate([part.numerators for part in parts]),
                np.concatenate([part.denominators for part in parts]),
            )
        )
    return sides[0], sides[1]


class _Chance:
    """Resampling weights and ways to share out units, made once for each number of units.

    So a figure's result does not depend on which others there are.
    """

    def __init__(self, seed: int, draws: int) -> None:
        self._seed, self._draws = seed, draws
        self._weights: dict[int, Array] = {}
        self._ways: dict[tuple[int, int], Array] = {}

    def weights(self, count: int) -> Array:
        """How often each of some units is drawn, with replacement. Shape=(draws, count)."""
        if count not in self._weights:
            generator = np.random.default_rng([self._seed, 0, count])
            drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=2 * self._draws)
            self._weights[count] = drawn.astype(np.float64)
        return self._weights[count]

    def ways(self, count: int, chosen: int) -> Array:
        """Choices of units, 1 for a chosen one; the first are the last ``chosen``. Shape=(ways, count)."""
        if (count, chosen) not in self._ways:
            if math.comb(count, chosen) <= self._draws:
                picks = np.array(list(combinations(range(count - 1, -1, -1), chosen)))
                masks = np.zeros((len(picks), count))
                np.put_along_axis(masks, picks, 1.0, axis=1)
            else:
                # Where not all ways are gone through, the actual one is among those that are.
                masks = np.zeros((1 + self._draws, count))
                masks[:, count - chosen :] = 1.0
                np.random.default_rng([self._seed, 1, count, chosen]).permuted(masks[1:], axis=1, out=masks[1:])
            self._ways[count, chosen] = masks
        return self._ways[count, chosen]


def _compared(figure: Figure, one: Sums, other: Sums, chance: _Chance) -> Comparison:
    """Figure, interval and probability; the verdict is still 'unknown'."""
    values = [float(figure.of(side.numerators.sum(), side.denominators.sum())) for side in (one, other)]
    baseline, candidate = (value if np.isfinite(value) else None for value in values)
    if baseline is None or candidate is None:
        return Comparison(figure, baseline, candidate, None, None, "unknown")
    one, other = _known(one), _known(other)
    interval = _interval(figure, one, other, chance)
    probabilities = _probabilities(figure, one, other, chance)
    ways = len(chance.ways(len(one.numerators) + len(other.numerators), len(other.numerators)))
    return Comparison(figure, baseline, candidate, interval, probabilities, "unknown", ways)


def _known(side: Sums) -> Sums:
    """Units that say anything; where they are very many, neighbours together."""
    rows = side.denominators > 0.0
    above, below = side.numerators[rows], side.denominators[rows]
    if len(above) > _MOST_UNITS:
        starts = np.linspace(0, len(above), _MOST_UNITS, endpoint=False).astype(np.int64)
        above, below = np.add.reduceat(above, starts), np.add.reduceat(below, starts)
    return Sums(above, below)


def _interval(figure: Figure, one: Sums, other: Sums, chance: _Chance) -> tuple[float, float] | None:
    """95 % interval of the difference; None where a side is a single unit."""
    if min(len(one.numerators), len(other.numerators)) < 2:  # noqa: PLR2004 - nothing to resample
        return None
    # Two halves of the draws: sides of the same number of units must not be drawn alike.
    drawn = []
    for place, side in enumerate((one, other)):
        weights = np.array_split(chance.weights(len(side.numerators)), 2)[place]
        drawn.append(figure.of(weights @ side.numerators, weights @ side.denominators))
    low, high = np.percentile(drawn[1] - drawn[0], [50.0 * LEVEL, 100.0 - 50.0 * LEVEL])
    return float(low), float(high)


def _probabilities(figure: Figure, one: Sums, other: Sums, chance: _Chance) -> tuple[float, float]:
    """Share of the ways to share out all units in which B is as bad as it is or worse, and as good or better."""
    above = np.concatenate([one.numerators, other.numerators])
    below = np.concatenate([one.denominators, other.denominators])
    badness = figure.sign * _difference(figure, chance.ways(len(above), len(other.numerators)), above, below)
    here = badness[0]
    # The same sums in another order differ by rounding.
    slack = _TOLERANCE * float(np.abs(badness[np.isfinite(badness)]).max(initial=0.0))
    return float((badness >= here - slack).mean()), float((badness <= here + slack).mean())


def _difference(figure: Figure, masks: Array, above: Array, below: Array) -> Array:
    """Figure of the chosen units less that of the others, in units of its standard error. Shape=(ways,).

    A side of a single unit has no standard error: the differences are then as they are.
    """
    # The spread is that around the figure of all: squares of the sums themselves would lose it in rounding.
    ratio = above.sum() / below.sum()
    rest = above - ratio * below
    columns = np.stack([above, below, rest, rest * rest, rest * below, below * below], axis=1)
    chosen, others = (_with_variance(figure, side, side @ columns) for side in (masks, 1.0 - masks))
    difference = chosen[0] - others[0]
    if min(masks[0].sum(), (1.0 - masks[0]).sum()) < 2.0:  # noqa: PLR2004 - nothing varies
        return difference
    error = np.sqrt(chosen[1] + others[1])
    # Rounding is neither a difference nor a spread.
    smallest = _TOLERANCE * np.maximum(np.abs(chosen[0]), np.abs(others[0]))
    difference = np.where(np.abs(difference) > smallest, difference, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(difference == 0.0, 0.0, difference / np.where(error > smallest, error, 0.0)))


def _with_variance(figure: Figure, masks: Array, sums: Array) -> tuple[Array, Array]:
    """A side's figure, and its variance as that of a ratio of sums. Shape=(ways,) each."""
    above, below, rest, squares, products, lengths = sums.T
    count = masks.sum(axis=1)
    shift = rest / below
    residuals = np.maximum(squares - 2.0 * shift * products + shift**2 * lengths, 0.0)
    values = figure.of(above, below)
    variance = residuals / below**2 * count / np.maximum(count - 1.0, 1.0)
    if figure.root:
        variance = np.divide(variance, 4.0 * values**2, out=np.zeros_like(variance), where=values > 0.0)
    return values, variance


def _judged(rows: Sequence[Comparison]) -> list[Comparison]:
    """Verdicts: probabilities corrected for their number, both ways, and differences that matter."""
    worse, better = (
        _holm([None if row.probabilities is None else row.probabilities[side] for row in rows]) for side in (0, 1)
    )
    judged = []
    for row, is_worse, is_better in zip(rows, worse, better, strict=True):
        verdict = "unknown"
        if row.baseline is not None and row.difference is not None:
            matters = row.figure.matters(row.baseline, row.difference)
            verdict = "worse" if is_worse and matters else "better" if is_better and matters else "same"
        judged.append(replace(row, verdict=verdict))
    return judged


def _holm(probabilities: Sequence[float | None]) -> list[bool]:
    """Which of several hypotheses are rejected at :data:`LEVEL` for all of them together."""
    known = sorted((p, index) for index, p in enumerate(probabilities) if p is not None)
    rejected = [False] * len(probabilities)
    for place, (probability, index) in enumerate(known):
        if probability > LEVEL / (len(known) - place):
            break
        rejected[index] = True
    return rejected
