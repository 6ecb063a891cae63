"""The figures of a study's report: per environment and method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo_control.experiments.results import EVALUATION, CellResult
from demo_control.experiments.spec import Environment
from demo_control.experiments.statistics import (
    Estimate,
    Reached,
    estimate,
    estimate_ratio,
    estimate_steps,
    steps_to_threshold,
    stratified_estimate,
)
from demo_control.experiments.study import Study

RETURN = "return_mean"


@dataclass(frozen=True)
class ThresholdSummary:
    """How runs of a method reached a threshold.

    Attributes:
        threshold: The return.
        runs: When each run did, by seed.
        steps: Interquartile mean of the steps.
        ratio: These steps relative to the reference's; None without one.
        pairs: Seeds that the ratio is over.
    """

    threshold: float
    runs: dict[int, Reached]
    steps: Estimate
    ratio: Estimate | None
    pairs: int

    @property
    def reached(self) -> int:
        """Runs that reached it."""
        return sum(run.reached for run in self.runs.values())


@dataclass(frozen=True)
class MethodSummary:
    """A method in an environment.

    Attributes:
        environment: Its name.
        method: Its name.
        seeds: Number of finished runs.
        final_return: Of the last evaluation.
        thresholds: In the environment's order.
        wall_s: Time of a run.
        stopped: Runs that stopped before their last step.
        processors: On which they ran.
    """

    environment: str
    method: str
    seeds: int
    final_return: Estimate
    thresholds: tuple[ThresholdSummary, ...]
    wall_s: Estimate
    stopped: int
    processors: tuple[str, ...]


def summarise(study: Study) -> list[MethodSummary]:
    """All methods that have finished runs, environment by environment."""
    found = []
    for environment in study.experiment.environments:
        references = _judged(study, environment.name, study.experiment.reference)
        for method in study.experiment.methods:
            results = _judged(study, environment.name, method.name)
            if results:
                found.append(_summary(study, environment, results, references))
    return found


def average_scores(study: Study) -> dict[str, Estimate]:
    """Final returns on the environments' scales, over all environments; {} unless all of them have a scale."""
    environments = study.experiment.environments
    if len(environments) < 2 or any(environment.scale is None for environment in environments):  # noqa: PLR2004
        return {}
    scores = {}
    for method in study.experiment.methods:
        strata = []
        for environment in environments:
            low, high = environment.scale or (0.0, 1.0)
            finals = _final_returns(_judged(study, environment.name, method.name))
            strata.append((finals - low) / (high - low))
        if all(len(values) for values in strata):
            scores[method.name] = stratified_estimate(strata)
    return scores


def _judged(study: Study, environment: str, method: str) -> list[CellResult]:
    """The runs of a method that were evaluated at all."""
    return [result for result in study.of(environment, method) if result.records_of(EVALUATION)]


def _final_returns(results: Sequence[CellResult]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([result.column(EVALUATION, RETURN)[1][-1] for result in results], dtype=float)


def _summary(
    study: Study, environment: Environment, results: Sequence[CellResult], references: Sequence[CellResult]
) -> MethodSummary:
    in_a_row = study.experiment.in_a_row
    cell = results[0].cell
    thresholds = []
    for threshold in environment.thresholds:
        runs = _reached(results, threshold, in_a_row)
        others = _reached(references, threshold, in_a_row)
        pairs = [seed for seed in runs if seed in others]
        ratio = None
        if pairs and cell.method != study.experiment.reference:
            ratio = estimate_ratio([runs[seed] for seed in pairs], [others[seed] for seed in pairs])
        thresholds.append(
            ThresholdSummary(threshold, runs, estimate_steps(list(runs.values())), ratio, len(pairs) if ratio else 0)
        )
    processors = [str(result.provenance.get("processor", "")) for result in results]
    return MethodSummary(
        environment=environment.name,
        method=cell.method,
        seeds=len(results),
        final_return=estimate(_final_returns(results)),
        thresholds=tuple(thresholds),
        wall_s=estimate(np.array([result.wall_s for result in results])),
        stopped=sum(_stopped(result) for result in results),
        processors=tuple(dict.fromkeys(processors)),
    )


def _reached(results: Sequence[CellResult], threshold: float, in_a_row: int) -> dict[int, Reached]:
    return {
        result.cell.request.seed: steps_to_threshold(*result.column(EVALUATION, RETURN), threshold, in_a_row)
        for result in results
    }


def _stopped(result: CellResult) -> bool:
    """Whether the stop rule ended a run: others are judged after their last step, too."""
    request = result.cell.request
    steps, _ = result.column(EVALUATION, RETURN)
    return request.evaluation.stop_in_a_row > 0 and steps[-1] < request.steps


def as_mapping(summary: MethodSummary) -> dict[str, object]:
    """A summary for JSON."""
    return {
        "environment": summary.environment,
        "method": summary.method,
        "seeds": summary.seeds,
        "stopped": summary.stopped,
        "final_return": estimate_as_mapping(summary.final_return),
        "wall_seconds": estimate_as_mapping(summary.wall_s),
        "thresholds": [
            {
                "threshold": row.threshold,
                "reached": row.reached,
                "steps": estimate_as_mapping(row.steps),
                "ratio": None if row.ratio is None else estimate_as_mapping(row.ratio),
                "pairs": row.pairs,
            }
            for row in summary.thresholds
        ],
    }


def estimate_as_mapping(found: Estimate) -> dict[str, object]:
    """An estimate for JSON: null for what is not known, and the marks of bounds."""
    values = {"value": found.value, "low": found.low, "high": found.high}
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return {**finite, "marks": [mark.strip() for mark in found.marks]}
