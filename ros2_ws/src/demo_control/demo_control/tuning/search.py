"""How many samples, on which engine and how many threads, a machine plans with in time.

The search knows nothing of clocks: it is given a function that measures. Times of plans grow about evenly with their
samples and steps, so a handful of measured sizes is enough to come close to the deadline; the proposal is then measured
again with many plans, and made smaller until it holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from demo_control.configuration import ConfigurationError, Settings, setting

AIM = 0.95
"""Share of the deadline that the search aims at: the verification has more plans, and with them later ones."""
CLOSE = 0.9
"""Share of the deadline that is near enough; also of another arm's samples that is as good."""
LARGEST_STEP = 8.0
"""Factor by which the next size may exceed the ones that held."""
_LEAST_LEFT = 0.7
"""Share of the samples that is left at least when a verification fails: part of it may be a disturbance."""
_ROUNDS = 4
_VERIFICATIONS = 6
_SEARCH_S = 1.0
_FEWEST_PLANS = 20


@dataclass(frozen=True)
class TuningGoal(Settings):
    """What a proposal must hold, and the sizes among which it is looked for."""

    period_ms: float = setting(20.0, "Time between two plans.", minimum=0.1, maximum=60_000.0)
    share: float = setting(0.8, "Share of the period that a plan may take.", minimum=0.01, maximum=1.0)
    quantile: float = setting(0.99, "Share of the plans that must keep to it.", minimum=0.5, maximum=0.9999)
    plans: int = setting(300, "Plans by which a proposal is verified.", minimum=20, maximum=100_000)
    minimum_samples: int = setting(
        32, "With fewer samples a shorter horizon is tried instead.", minimum=1, maximum=65536
    )
    maximum_samples: int = setting(4096, "More samples are not tried.", minimum=1, maximum=65536)
    minimum_horizon: int = setting(5, "Shorter horizons are not tried.", minimum=1, maximum=1000)

    def __post_init__(self) -> None:
        """Check what spans several fields, too."""
        super().__post_init__()
        if self.maximum_samples < self.minimum_samples:
            raise ConfigurationError(
                f"maximum_samples = {self.maximum_samples}: must be at least minimum_samples = {self.minimum_samples}"
            )

    @property
    def deadline_s(self) -> float:
        """How long a plan may take."""
        return 1e-3 * self.share * self.period_ms

    def late_plans(self, plans: int) -> int:
        """How many of some plans may take longer."""
        return math.floor(round((1.0 - self.quantile) * plans, 9))

    @property
    def search_plans(self) -> int:
        """Plans of each size that is tried on the way: about a second of them."""
        return max(_FEWEST_PLANS, min(self.plans, int(_SEARCH_S / self.deadline_s), 100))


@dataclass(frozen=True)
class Candidate:
    """Settings whose plans are timed."""

    engine: str
    threads: int
    horizon: int
    num_samples: int


@dataclass(frozen=True)
class Measurement:
    """How long a candidate's plans took.

    Attributes:
        candidate: What was measured.
        plans: How many plans; fewer than asked for where so many were late that nothing could change it.
        median_s: Half of them took at most that.
        quantile_s: The goal's share of them took at most that.
        longest_s: All of them did.
    """

    candidate: Candidate
    plans: int
    median_s: float
    quantile_s: float
    longest_s: float


Measure = Callable[[Sequence[Candidate], int], list[Measurement]]
"""Measures candidates in turn with that many plans each."""


@dataclass(frozen=True)
class Tuned:
    """The outcome.

    Attributes:
        proposal: The verified one, or None where nothing holds.
        measured: Everything, in order.
    """

    proposal: Measurement | None
    measured: tuple[Measurement, ...]

    @property
    def fastest(self) -> Measurement:
        """What took least time."""
        return min(self.measured, key=lambda measurement: measurement.quantile_s)


@dataclass
class Bracket:
    """The largest size that keeps to a deadline, between sizes that were measured.

    Attributes:
        lowest: Smallest size.
        highest: Largest size.
        step: All sizes are multiples of it.
        deadline_s: What they must keep to.
        measured: By size.
    """

    lowest: int
    highest: int
    step: int
    deadline_s: float
    measured: dict[int, Measurement] = field(default_factory=dict)

    @property
    def holds(self) -> int | None:
        """The largest size that held."""
        return max((size for size in self.measured if not self._late(size)), default=None)

    @property
    def fails(self) -> int | None:
        """The smallest size above it that did not. Below it, something disturbed the measurement."""
        return min((size for size in self.measured if self._late(size) and size > (self.holds or 0)), default=None)

    def following(self) -> int | None:
        """The size to measure next, or None where the answer is known closely enough.

        Raises:
            ValueError: Nothing was measured: the first size is the caller's choice.
        """
        holds, fails = self.holds, self.fails
        if fails is None:
            if holds is None:
                raise ValueError("a bracket must be told a first size")
            if holds >= self.highest or self.measured[holds].quantile_s >= CLOSE * self.deadline_s:
                return None
            return self._multiple(min(self._guess(holds), LARGEST_STEP * holds), holds + self.step, self.highest)
        if holds is None:
            if fails <= self.lowest:
                return None
            # Where a first reduction did not help there is a part that samples do not change: is anything possible?
            guess = self._guess(fails) if len(self.measured) == 1 else self.lowest
            return self._multiple(guess, self.lowest, fails - self.step)
        gap = fails - holds
        if gap <= max(self.step, (1.0 - CLOSE) * holds):
            return None
        # Not right beside a size that is known: a disturbed measurement would hold up the search.
        guess = min(max(self._guess(holds), holds + 0.1 * gap), holds + 0.9 * gap)
        return self._multiple(guess, holds + self.step, fails - self.step)

    def _guess(self, size: int) -> float:
        """Where the deadline would be reached: medians grow in proportion or along a line, what is above them stays."""
        known = self.measured[size]
        slope = known.median_s / size
        for other in (self.fails, max((one for one in self.measured if one < size), default=None)):
            if other is not None and other != size:
                rise = (self.measured[other].median_s - known.median_s) / (other - size)
                slope = rise if rise > 0.0 else slope
                break
        return size + (AIM * self.deadline_s - known.quantile_s) / slope

    def _late(self, size: int) -> bool:
        return self.measured[size].quantile_s > self.deadline_s

    def _multiple(self, size: float, lowest: int, highest: int) -> int:
        """A multiple of the step, at most ``size``, within the limits."""
        return min(max(int(size) // self.step * self.step, lowest), highest)


def tune(goal: TuningGoal, own: Candidate, members: int, arms: Sequence[tuple[str, int]], measure: Measure) -> Tuned:
    """Look for the largest plan that keeps to the deadline.

    As many samples as possible at the task's own horizon; a shorter horizon only where even ``minimum_samples`` take
    too long. The faster engine; one thread unless more of them allow for clearly more samples.

    Args:
        goal: What must hold.
        own: The task's own settings, where the search starts.
        members: Of the ensemble: numbers of samples are multiples of it.
        arms: Engines and numbers of threads that are possible.
        measure: Measures.
    """
    return _Search(goal, own, members, measure).run(arms)


class _Search:
    """The state of :func:`tune`."""

    def __init__(self, goal: TuningGoal, own: Candidate, members: int, measure: Measure) -> None:
        self._goal, self._own, self._members, self._measure = goal, own, members, measure
        self._measured: list[Measurement] = []
        self._fewest = -(-goal.minimum_samples // members) * members
        self._most = max(goal.maximum_samples // members * members, self._fewest)

    def run(self, arms: Sequence[tuple[str, int]]) -> Tuned:
        brackets = self._sample_brackets(arms)
        proposal = None
        if any(bracket.holds is not None for bracket in brackets.values()):
            engine, threads = chosen_arm(brackets)
            chosen = replace(self._own, engine=engine, threads=threads)
            bracket = brackets[engine, threads]
            proposal = self._verified(bracket, lambda size: replace(chosen, num_samples=size))
        if proposal is None and self._own.horizon > self._goal.minimum_horizon:
            proposal = self._shorter()
        return Tuned(proposal, tuple(self._measured))

    def _sample_brackets(self, arms: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Bracket]:
        """Every arm's largest number of samples at the task's horizon, closely enough."""
        start = min(max(self._own.num_samples // self._members * self._members, self._fewest), self._most)
        brackets = {arm: Bracket(self._fewest, self._most, self._members, self._goal.deadline_s) for arm in arms}
        sizes: dict[tuple[str, int], int] = dict.fromkeys(arms, start)
        for _ in range(_ROUNDS):
            candidates = [
                Candidate(engine, threads, self._own.horizon, size) for (engine, threads), size in sizes.items()
            ]
            for arm, measurement in zip(sizes, self._times(candidates, self._goal.search_plans), strict=True):
                brackets[arm].measured[sizes[arm]] = measurement
            following = {arm: brackets[arm].following() for arm in sizes}
            sizes = {arm: size for arm, size in following.items() if size is not None}
            # Who would not get half as far as another is out of the race.
            furthest = max((brackets[arm].holds or 0 for arm in arms), default=0)
            furthest = max([furthest, *sizes.values()])
            sizes = {arm: size for arm, size in sizes.items() if 2 * size >= furthest}
            if not sizes:
                break
        return brackets

    def _shorter(self) -> Measurement | None:
        """The longest horizon at which the fewest samples keep to the deadline, on the arm that was fastest."""
        fewest = [entry for entry in self._measured if entry.candidate.num_samples == self._fewest]
        fastest = min(fewest, key=lambda entry: entry.quantile_s, default=None)
        if fastest is None:
            return None
        own = fastest.candidate
        bracket = Bracket(self._goal.minimum_horizon, own.horizon, 1, self._goal.deadline_s)
        # It may have held once, but not when it was verified.
        bracket.measured[own.horizon] = replace(fastest, quantile_s=max(fastest.quantile_s, 1.001 * bracket.deadline_s))
        for _ in range(_ROUNDS):
            size = bracket.following()
            if size is None:
                break
            (measurement,) = self._times([replace(own, horizon=size)], self._goal.search_plans)
            bracket.measured[size] = measurement
        return self._verified(bracket, lambda size: replace(own, horizon=size))

    def _verified(self, bracket: Bracket, candidate_of: Callable[[int], Candidate]) -> Measurement | None:
        """Many plans of the largest size that held; of smaller ones until one holds again."""
        size = bracket.holds
        for left in reversed(range(_VERIFICATIONS)):
            if size is None:
                return None
            (measurement,) = self._times([candidate_of(size)], self._goal.plans)
            if measurement.quantile_s <= self._goal.deadline_s:
                return measurement
            factor = min(max(AIM * self._goal.deadline_s / measurement.quantile_s, _LEAST_LEFT), AIM)
            smaller = max(int(factor * size) // bracket.step * bracket.step, bracket.lowest)
            size = None if size == bracket.lowest else smaller if left > 1 else bracket.lowest
        return None

    def _times(self, candidates: Sequence[Candidate], plans: int) -> list[Measurement]:
        measured = self._measure(candidates, plans)
        self._measured += measured
        return measured


def chosen_arm(brackets: dict[tuple[str, int], Bracket]) -> tuple[str, int]:
    """Engine and threads: of those that hold nearly as many samples as the best one, the one with fewest threads.

    Args:
        brackets: At least one of them holds something.
    """
    held = {arm: bracket.holds for arm, bracket in brackets.items() if bracket.holds is not None}
    most = max(held.values())
    good = [arm for arm, size in held.items() if size >= CLOSE * most]

    def preference(arm: tuple[str, int]) -> tuple[int, int, float]:
        return arm[1], -held[arm], brackets[arm].measured[held[arm]].quantile_s

    return min(good, key=preference)


def possible_threads(cores: int) -> Iterable[int]:
    """One, two, four … and all."""
    return sorted({*(2**power for power in range(cores.bit_length()) if 2**power <= cores), cores})
