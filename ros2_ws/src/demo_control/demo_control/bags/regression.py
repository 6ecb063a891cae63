"""Whether recordings are worse than others beyond noise.

Intervals: percentile bootstrap over recordings (B. Efron, *Annals of Statistics* 7, 1979), over blocks of time where a
side is a single recording. Verdict: permutation tests, which keep their level however few recordings there are (R. A.
Fisher, *The Design of Experiments*, 1935), corrected for many figures by S. Holm (*Scandinavian Journal of Statistics*
6, 1979), and a smallest difference that matters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from demo_control.bags.errors import BagError
from demo_control.bags.figures import Figure, Sums, by_block, by_recording, known_figures
from demo_control.tasks import Array

LEVEL = 0.05
RESAMPLES = 4000
_TOLERANCE = 1e-9


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
    """

    figure: Figure
    baseline: float | None
    candidate: float | None
    interval: tuple[float, float] | None
    probabilities: tuple[float, float] | None
    verdict: str

    def to_json(self) -> dict[str, object]:
        """Ready for JSON."""
        known = self.baseline is not None and self.candidate is not None
        return {
            "figure": self.figure.name,
            "text": self.figure.text,
            "better": "less" if self.figure.sign > 0 else "more",
            "a": self.baseline,
            "b": self.candidate,
            "difference": self.candidate - self.baseline if known else None,
            "interval": None if self.interval is None else list(self.interval),
            "probability_worse": None if self.probabilities is None else self.probabilities[0],
            "probability_better": None if self.probabilities is None else self.probabilities[1],
            "verdict": self.verdict,
        }


def compare(
    baseline: Sequence[Mapping[str, Any]], candidate: Sequence[Mapping[str, Any]], seed: int = 0
) -> dict[str, object]:
    """Compare recordings with a baseline.

    Args:
        baseline: Evaluations, as :func:`demo_control.bags.evaluation.evaluate_bag` makes them; at least one.
        candidate: The same.
        seed: Of resampling.

    Returns:
        Ready for JSON; ``worse`` says whether any figure is worse beyond noise.

    Raises:
        BagError: Recordings of different robots.
    """
    robots = sorted({str(result["task"]) for result in (*baseline, *candidate)})
    if len(robots) > 1:
        raise BagError(f"recordings of different robots cannot be compared: {', '.join(robots)}")
    both = [*baseline, *candidate]
    single = min(len(baseline), len(candidate)) == 1
    rows = []
    # One generator for each figure, so that a figure's interval does not depend on which others there are.
    for figure in known_figures(both):
        sides = _sides(baseline, candidate, figure, single)
        rows.append(_compared(figure, *sides, np.random.default_rng(seed)))
    rows = _judged(rows)
    return {
        "robot": robots[0],
        "a": {"bags": [result["bag"] for result in baseline]},
        "b": {"bags": [result["bag"] for result in candidate]},
        "units": "blocks of time" if single else "recordings",
        "level": LEVEL,
        "figures": [row.to_json() for row in rows],
        "worse": any(row.verdict == "worse" for row in rows),
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


def _compared(figure: Figure, one: Sums, other: Sums, generator: np.random.Generator) -> Comparison:
    """Figure, interval and probability; the verdict is still 'unknown'."""
    values = [float(figure.of(side.numerators.sum(), side.denominators.sum())) for side in (one, other)]
    baseline, candidate = (value if np.isfinite(value) else None for value in values)
    if baseline is None or candidate is None:
        return Comparison(figure, baseline, candidate, None, None, "unknown")
    one, other = _known(one), _known(other)
    interval = _interval(figure, one, other, generator)
    return Comparison(figure, baseline, candidate, interval, _probabilities(figure, one, other, generator), "unknown")


def _known(side: Sums) -> Sums:
    """Units that say anything."""
    rows = side.denominators > 0.0
    return Sums(side.numerators[rows], side.denominators[rows])


def _interval(figure: Figure, one: Sums, other: Sums, generator: np.random.Generator) -> tuple[float, float] | None:
    """95 % interval of the difference; None where a side is a single unit."""
    if min(len(one.numerators), len(other.numerators)) < 2:  # noqa: PLR2004 - nothing to resample
        return None
    first, second = (_resampled(figure, side, generator) for side in (one, other))
    low, high = np.percentile(second - first, [50.0 * LEVEL, 100.0 - 50.0 * LEVEL])
    return float(low), float(high)


def _resampled(figure: Figure, side: Sums, generator: np.random.Generator) -> Array:
    """The figure of units drawn with replacement. Shape=(RESAMPLES,)."""
    count = len(side.numerators)
    weights = generator.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES).astype(float)
    return figure.of(weights @ side.numerators, weights @ side.denominators)


def _probabilities(figure: Figure, one: Sums, other: Sums, generator: np.random.Generator) -> tuple[float, float]:
    """Share of the ways to share out all units in which B is as bad as it is or worse, and as good or better."""
    above = np.concatenate([one.numerators, other.numerators])
    below = np.concatenate([one.denominators, other.denominators])
    count, chosen = len(above), len(other.numerators)
    actual = np.zeros((1, count))
    actual[:, count - chosen :] = 1.0
    exact = math.comb(count, chosen) <= RESAMPLES
    # Where not all ways are gone through, the actual one is among those that are.
    ways = _all_ways(count, chosen) if exact else np.vstack([actual, _some_ways(count, chosen, generator)])
    badness = figure.sign * _difference(figure, ways, above, below)
    here = figure.sign * float(_difference(figure, actual, above, below)[0])
    # The same sums in another order differ by rounding.
    slack = _TOLERANCE * float(np.abs(badness).max())
    return float((badness >= here - slack).mean()), float((badness <= here + slack).mean())


def _difference(figure: Figure, masks: Array, above: Array, below: Array) -> Array:
    """Figure of the chosen units less that of the others, for each way. Shape=(ways,)."""
    chosen = figure.of(masks @ above, masks @ below)
    return chosen - figure.of((1.0 - masks) @ above, (1.0 - masks) @ below)


def _all_ways(count: int, chosen: int) -> Array:
    """Every choice of units. Shape=(ways, count)."""
    picks = np.array(list(combinations(range(count), chosen)))
    masks = np.zeros((len(picks), count))
    np.put_along_axis(masks, picks, 1.0, axis=1)
    return masks


def _some_ways(count: int, chosen: int, generator: np.random.Generator) -> Array:
    """Random choices of units. Shape=(RESAMPLES, count)."""
    masks = np.zeros((RESAMPLES, count))
    masks[:, :chosen] = 1.0
    return np.asarray(generator.permuted(masks, axis=1))


def _judged(rows: Sequence[Comparison]) -> list[Comparison]:
    """Verdicts: probabilities corrected for their number, both ways, and differences that matter."""
    worse, better = (
        _holm([None if row.probabilities is None else row.probabilities[side] for row in rows]) for side in (0, 1)
    )
    judged = []
    for row, is_worse, is_better in zip(rows, worse, better, strict=True):
        verdict = "unknown"
        if row.baseline is not None and row.candidate is not None:
            matters = row.figure.matters(row.baseline, row.candidate - row.baseline)
            verdict = "worse" if is_worse and matters else "better" if is_better and matters else "same"
        judged.append(Comparison(row.figure, row.baseline, row.candidate, row.interval, row.probabilities, verdict))
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
