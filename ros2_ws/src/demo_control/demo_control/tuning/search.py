"""How many samples, on which engine and how many threads, a machine plans with in time.

The search knows nothing of clocks: it is given a function that measures. Times of plans grow about evenly with their
samples and steps, so a handful of measured sizes is enough to come close to the deadline; the proposal is then measured
again with many plans, and made smaller until it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from demo_control.tuning.bracket import AIM, CLOSE, Bracket
from demo_control.tuning.records import Candidate, Measurement, Tuned, TuningGoal

_LEAST_LEFT = 0.7
"""Share of a size that is left at least when a verification fails: part of it may be a disturbance."""
_ROUNDS = 4
_VERIFICATIONS = 8

Measure = Callable[[Sequence[Candidate], int], list[Measurement]]
"""Measures candidates in turn with that many plans each."""


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
        """The longest horizon at which the fewest samples keep to the deadline, on the fastest arm."""
        fewest = [entry for entry in self._measured if entry.candidate.num_samples == self._fewest]
        if not fewest:
            return None
        fastest_s = min(entry.quantile_s for entry in fewest)
        good = [entry for entry in fewest if CLOSE * entry.quantile_s <= fastest_s]
        known = min(good, key=lambda entry: entry.candidate.threads)
        own = known.candidate
        bracket = Bracket(self._goal.minimum_horizon, own.horizon, 1, self._goal.deadline_s)
        # It may have held once, but not when it was verified.
        bracket.measured[own.horizon] = replace(known, quantile_s=max(known.quantile_s, 1.001 * bracket.deadline_s))
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


def possible_threads(cores: int) -> list[int]:
    """One, two, four … and all."""
    return sorted({*(2**power for power in range(cores.bit_length()) if 2**power <= cores), cores})
