"""A bundle's model, adapted to the robot that was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo_control.bags.errors import BagError
from demo_control.bags.model_error import ModelError, model_error
from demo_control.bags.motion import Motion, read_motion
from demo_control.bundle import Bundle, load_bundle, make_bundle, save_bundle
from demo_control.configuration import ConfigurationError
from demo_control.files import check_folder
from demo_control.layer import LayerSettings
from demo_control.learning.dataset import Dataset, Windows
from demo_control.learning.ensemble import Ensemble, Scaling
from demo_control.learning.episodes import Episode
from demo_control.learning.export import check_parity, dynamics_model
from demo_control.learning.fitting import FitReport, refine
from demo_control.learning.imported import imported_ensemble
from demo_control.learning.old_data import OldData, data_like_those_of_training, data_of_run
from demo_control.learning.progress import Reporter
from demo_control.learning.provenance import git_revision, versions
from demo_control.learning.refit_card import refit_card
from demo_control.learning.refit_data import Shares, recorded_episodes, shared_out
from demo_control.learning.refit_settings import RefitSettings
from demo_control.learning.rehearsal import change_factors, rehearsed
from demo_control.learning.run_folder import check_free_for_bundle
from demo_control.learning.seeding import Purpose, stream
from demo_control.statistics import ratio_interval
from demo_control.tasks import Array, Task, load_task

_LEAST_UNITS = 5
_UNIT_S = 1.0
_RESAMPLES = 4000


@dataclass(frozen=True)
class RefitRequest:
    """What to refit, and to what.

    Attributes:
        bags: Recordings of one robot.
        bundle: Directory of the bundle that the model is taken from.
        out: Directory of the new bundle.
        settings: See :class:`RefitSettings`.
        seed: Of everything random.
        data: Folder of the training run whose data are replayed; None simulates such data anew.
    """

    bags: tuple[Path, ...]
    bundle: Path
    out: Path
    settings: RefitSettings
    seed: int = 0
    data: Path | None = None


@dataclass(frozen=True)
class Verdict:
    """The two models on what was held out.

    Attributes:
        before: Errors of the old model.
        after: Errors of the new one.
        ratio: Of the errors at the horizon, new over old.
        interval: 95 % of that ratio (bootstrap over pieces of time); None where there are too few pieces.
        units: Pieces of time.
    """

    before: ModelError
    after: ModelError
    ratio: float | None
    interval: tuple[float, float] | None
    units: int

    @property
    def better(self) -> bool:
        """Whether the new model is better, with confidence."""
        return self.interval is not None and self.interval[1] < 1.0


def refit(request: RefitRequest, reporter: Reporter) -> tuple[Verdict, dict[str, Any]]:
    """Adapt, judge, and write the new bundle if it is better on what was held out.

    The same recordings, bundle, settings and seed give the same files.

    Args:
        request: What to refit.
        reporter: Told what goes on.

    Returns:
        The verdict, and all figures ready for JSON.

    Raises:
        BagError: Recordings that cannot be used.
        BundleError: A bundle that cannot be refitted.
        ConfigurationError: A directory that cannot be used.
        OSError: One that cannot be written to.
    """
    bundle = load_bundle(request.bundle)
    task = load_task(bundle.contract.task)
    bundle.contract.check_task(task)
    check_free_for_bundle(request.out)
    check_folder(request.out)
    if request.seed < 0:
        raise ConfigurationError(f"seed = {request.seed}: must be at least 0")
    torch.set_num_threads(1)  # the sums of several threads depend on their number
    layer = LayerSettings.for_task(task)
    request = replace(request, settings=request.settings.resolved(adapts=layer.adapt_model))
    horizon = layer.horizon
    motions = _motions(request, task, reporter)
    shares = shared_out(task, motions, horizon, stream(request.seed, Purpose.REFIT_SHARES))
    dataset = _dataset(task, shares, request.settings)
    old = _old_data(request, task, bundle, reporter)
    ensemble, report, factors = _fitted(request, task, bundle, dataset, old, reporter)
    model = dynamics_model(ensemble)
    parity = check_parity(
        ensemble, model, Windows.of(dataset.training, 1), stream(request.seed, Purpose.PARITY)
    )  # fmt: skip
    verdict = _judged(task, bundle, replace(bundle, dynamics=model), shares, horizon)
    lineage = _lineage(request, bundle, motions, shares, dataset, old, report, parity)
    lineage["change_factors"] = [round(float(factor), 4) for factor in factors]
    figures = _figures(verdict)
    if verdict.better:
        refitted = make_bundle(
            task,
            policy=bundle.policy,
            dynamics=model,
            value=bundle.value,
            provenance=lineage,
            metrics={"refit": figures},
        )
        for name in ("policy.onnx", "value.onnx"):
            assert refitted.contract.files.get(name) == bundle.contract.files.get(name), name
        save_bundle(refitted, request.out, refit_card(task, lineage, figures))
        lineage = {**lineage, "bundle_sha256": refitted.sha256}
    return verdict, {"better": verdict.better, **figures, "lineage": lineage, "curve": report.curve}


def _motions(request: RefitRequest, task: Task, reporter: Reporter) -> list[Motion]:
    """What the recordings show."""
    reporter.start("recordings", len(request.bags))
    motions: list[Motion] = []
    for path in request.bags:
        motion = read_motion(path, task, request.bundle)
        if any(motion.sha256 == known.sha256 for known in motions):
            raise BagError(f"{path}: given twice (the same as {motion.name})")
        motions.append(motion)
        reporter.advance(len(motions), f"{sum(motion.seconds for motion in motions):.0f} s")
    delays = sorted({motion.delay_ticks for motion in motions})
    if len(delays) > 1:
        raise BagError(
            f"command_delay_ticks = {' and '.join(map(str, delays))}: recordings of one robot have one delay"
        )
    reporter.finish(f"{len(motions)}, {sum(motion.seconds for motion in motions):.1f} s")
    return motions


def _dataset(task: Task, shares: Shares, settings: RefitSettings) -> Dataset:
    """What is fitted to, and what says when to stop.

    Raises:
        BagError: Not enough.
    """
    parts = [recorded_episodes(task, stretches) for stretches in (shares.training, shares.stopping)]
    for episodes, name in zip(parts, ("fitted to", "held out to know when to stop"), strict=True):
        if not any(len(episode) >= settings.unroll_steps for episode in episodes):
            count = sum(map(len, episodes))
            raise BagError(
                f"the recordings have too little that can be {name}: {count} transitions, none "
                f"{settings.unroll_steps} in a row; record a minute of the robot at work"
            )
    return Dataset(*parts)


def _old_data(request: RefitRequest, task: Task, bundle: Bundle, reporter: Reporter) -> OldData:
    """What the model knew."""
    settings = request.settings
    if not settings.replay_share:
        return OldData((), "none")
    if request.data is not None:
        return data_of_run(task, request.data)
    return data_like_those_of_training(
        task, bundle, rounds=settings.replay_rounds, episodes=settings.replay_episodes, seed=request.seed,
        reporter=reporter,
    )  # fmt: skip


def _fitted(
    request: RefitRequest, task: Task, bundle: Bundle, dataset: Dataset, old: OldData, reporter: Reporter
) -> tuple[Ensemble, FitReport, Array]:
    """The old ensemble, fitted on, and what the recordings make of each quantity that it had learned."""
    problem, settings = task.planning_problem, request.settings
    long_enough: tuple[Episode, ...] = tuple(e for e in old.episodes if len(e) >= settings.unroll_steps)
    scaling = Scaling.of(Windows.of((*dataset.training, *long_enough), 1), problem)
    ensemble = imported_ensemble(problem, bundle.dynamics, scaling)
    check_parity(ensemble, bundle.dynamics, Windows.of(dataset.training, 1), stream(request.seed, Purpose.PARITY, 1))
    factors = change_factors(ensemble, dataset.training, adapted=LayerSettings.for_task(task).adapt_model)
    replayed: tuple[Episode, ...] = ()
    if long_enough:
        generator = stream(request.seed, Purpose.REFIT_REHEARSAL)
        replayed = rehearsed(ensemble, long_enough, factors, settings.unroll_steps, generator)
    reporter.start(f"fit: {ensemble.num_members} members, {dataset.num_transitions} new transitions", settings.steps)

    def after_look(report: FitReport) -> None:
        step, loss, error = report.curve[-1]
        reporter.advance(step, f"loss {loss:.3f}, hold-out {error:.5f}")

    ensemble, report = refine(
        ensemble, dataset, replayed, settings.replay_share, settings=settings.fit_settings(),
        generator=stream(request.seed, Purpose.FIT), after_look=after_look,
    )  # fmt: skip
    reporter.finish(f"{report.steps} steps")
    return ensemble, report, factors


def _judged(task: Task, before: Bundle, after: Bundle, shares: Shares, horizon: int) -> Verdict:
    """Compare both models on what neither has seen."""
    old, new = (model_error(task, b, shares.judging, horizon) for b in (before, after))
    ratio = interval = None
    unit_ns = round(1e9 * max(_UNIT_S, 2.0 * horizon * task.planning_problem.control_period_s))
    # Predictions that overlap are wrong together; pieces of time hardly are.
    _, units = np.unique(old.starts_ns // unit_ns, return_inverse=True)
    count = len(np.unique(units))
    if count:
        sums = [np.bincount(units, error.squared_errors).astype(float) for error in (new, old)]
        ratio = float(np.sqrt(sums[0].sum() / sums[1].sum()))
    if count >= _LEAST_UNITS:
        low, high = ratio_interval(*sums, resamples=_RESAMPLES)
        interval = float(np.sqrt(low)), float(np.sqrt(high))
    return Verdict(old, new, ratio, interval, count)


def _figures(verdict: Verdict) -> dict[str, Any]:
    """Errors before and after, ready for JSON."""
    return {
        "horizon_error_ratio": verdict.ratio,
        "interval": None if verdict.interval is None else list(verdict.interval),
        "judged_pieces": verdict.units,
        "before": verdict.before.to_json(),
        "after": verdict.after.to_json(),
    }


def _lineage(
    request: RefitRequest, bundle: Bundle, motions: Sequence[Motion], shares: Shares, dataset: Dataset, old: OldData,
    report: FitReport, parity: float,
) -> dict[str, Any]:  # fmt: skip
    """How the bundle came about; nothing in it depends on where files lie or on the time."""
    settings: Mapping[str, object] = request.settings.as_mapping()
    contract = bundle.contract
    return {
        "command": "democtl bag refit",
        "seed": request.seed,
        "settings": dict(settings),
        "git_revision": git_revision(),
        "versions": versions(),
        "policy": contract.provenance.get("policy"),
        "recordings": [_source(motion) for motion in motions],
        "held_out": shares.judging_bags or f"blocks of {shares.block_s:.2f} s, every fourth",
        "transitions": dataset.num_transitions,
        "stopping_transitions": sum(map(len, dataset.held_out)),
        "replayed_transitions": old.transitions,
        "replayed": old.source,
        "data_sha256": dataset.sha256(),
        "steps": report.steps,
        "parity": parity,
        "parent": {
            "sha256": bundle.sha256,
            "provenance": dict(contract.provenance),
            "metrics": dict(contract.metrics),
        },
    }


def _source(motion: Motion) -> dict[str, Any]:
    """What is told of a recording."""
    return {
        "name": motion.name,
        "sha256": motion.sha256,
        "seconds": round(motion.seconds, 3),
        "left_out_ticks": dict(motion.left_out),
        "warnings": list(motion.warnings),
    }
