"""Fitting the ensemble: bootstraps, Gaussian likelihood, unrolled error, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.learning.dataset import Dataset, Indices, Windows
from demo_control.learning.ensemble import Ensemble, NetworkSettings, Scaling
from demo_control.learning.episodes import Episode
from demo_control.tasks import Array, Task
from demo_control.transitions import learned_outputs

_BOUND_PENALTY = 0.01
_MAXIMUM_GRADIENT_NORM = 10.0


@dataclass(frozen=True)
class FitSettings(Settings):
    """How the ensemble is fitted."""

    steps: int = setting(2000, "Most gradient steps (not epochs: few data need as many).", minimum=1)
    batch_size: int = setting(256, "Stretches per member and step.", minimum=1)
    learning_rate: float = setting(6e-3, "Peak of the one-cycle learning rate.", minimum=1e-9)
    weight_decay: float = setting(1e-5, "Decoupled weight decay.", minimum=0.0)
    unroll_steps: int = setting(4, "Steps of the model per stretch of data.", minimum=1)
    unroll_weight: float = setting(1.0, "Weight of the unrolled error.", minimum=0.0)
    evaluation_interval: int = setting(100, "Steps between two looks at the hold-out.", minimum=1)
    patience: int = setting(10, "Looks without an improvement before a fit ends.", minimum=1)
    held_out_stretches: int = setting(2000, "Most stretches of the hold-out looked at.", minimum=1)


@dataclass
class FitReport:
    """What happened in a fit.

    Attributes:
        curve: Rows (step, training loss, mean hold-out error); the error is the mean squared error
            of the standardised change over all unrolled steps.
        held_out_errors: Best hold-out error of each member. Shape=(num_members,).
        steps: Gradient steps taken.
        unroll_steps: Steps of the model per stretch, over which errors are averaged.
    """

    curve: list[tuple[int, float, float]] = field(default_factory=list)
    held_out_errors: Array = field(default_factory=lambda: np.zeros(0))
    steps: int = 0
    unroll_steps: int = 1

    def as_mapping(self) -> dict[str, object]:
        """The report as JSON."""
        return {**asdict(self), "held_out_errors": self.held_out_errors.tolist()}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> FitReport:
        """The inverse of :meth:`as_mapping`.

        Raises:
            KeyError, TypeError, ValueError: Not such a report.
        """
        curve = [(int(step), float(loss), float(error)) for step, loss, error in values["curve"]]
        errors = np.array(values["held_out_errors"], dtype=float)
        return cls(curve, errors, int(values["steps"]), int(values["unroll_steps"]))


def bootstraps(starts: Indices, num_members: int, generator: np.random.Generator) -> Indices:
    """Each member's own sample, with replacement. Shape=(num_members, num_windows)."""
    chosen = generator.integers(len(starts), size=(num_members, len(starts)))
    return np.asarray(starts[chosen])


def fit(
    task: Task,
    dataset: Dataset,
    *,
    network: NetworkSettings,
    settings: FitSettings,
    generator: np.random.Generator,
    after_look: Callable[[FitReport], None] = lambda _: None,
) -> tuple[Ensemble, FitReport]:
    """Fit a new ensemble.

    Args:
        task: Gives dimensions and ranges.
        dataset: Needs held-out episodes.
        network: Shape of the ensemble.
        settings: See :class:`FitSettings`.
        generator: Decides weights, bootstraps and batches.
        after_look: Called at every look at the hold-out.

    Returns:
        The elites, best first, each with the weights of its best look, and the report.

    Raises:
        ConfigurationError: No episode, or none held out, is long enough; or the fit diverged.
    """
    windows = _long_enough("to fit to", dataset.training, settings)
    held_out = _long_enough("that is held out", dataset.held_out, settings)
    torch_generator = torch.Generator().manual_seed(int(generator.integers(2**62)))
    ensemble = Ensemble.initial(task, network, Scaling.of(windows, task), torch_generator)
    samples = bootstraps(windows.starts, network.num_members, generator)
    judge = _Judge(ensemble, held_out, settings, generator)

    def draw() -> _Batch:
        return _batch(task, windows, samples, settings.batch_size, generator)

    best, report = _descend(ensemble, draw, judge, settings, after_look)
    elites = np.argsort(report.held_out_errors, kind="stable")[: network.num_elites]
    return best.members([int(i) for i in elites]), report


def refine(
    ensemble: Ensemble,
    dataset: Dataset,
    replayed: Sequence[Episode],
    replay_share: float,
    *,
    settings: FitSettings,
    generator: np.random.Generator,
    after_look: Callable[[FitReport], None] = lambda _: None,
) -> tuple[Ensemble, FitReport]:
    """Go on fitting an ensemble to new data, with old data in every batch so that what it knew is not forgotten.

    Args:
        ensemble: Changed in place.
        dataset: The new data; needs held-out episodes.
        replayed: The old data; none for none.
        replay_share: Of each batch that comes from these.
        settings: See :class:`FitSettings`.
        generator: Decides bootstraps and batches.
        after_look: Called at every look at the hold-out.

    Returns:
        All members in their order, each with the weights of its best look (which may be the first, before any step),
        and the report.

    Raises:
        ValueError: No episode, or none held out or replayed, is long enough.
        ConfigurationError: The fit diverged.
    """
    task, members = ensemble.task, ensemble.num_members
    old_rows = round(replay_share * settings.batch_size) if replayed else 0
    parts = [(Windows.of(dataset.training, settings.unroll_steps), settings.batch_size - old_rows)]
    if old_rows:
        parts.append((Windows.of(replayed, settings.unroll_steps), old_rows))
    sources = [(windows, bootstraps(windows.starts, members, generator), rows) for windows, rows in parts]
    judge = _Judge(ensemble, Windows.of(dataset.held_out, settings.unroll_steps), settings, generator)
    judge.look()

    def draw() -> _Batch:
        batches = [_batch(task, windows, samples, rows, generator) for windows, samples, rows in sources]
        x, u = torch.cat([batch[0] for batch in batches], dim=2), torch.cat([batch[1] for batch in batches], dim=2)
        outputs = [batch[2] for batch in batches if batch[2] is not None]
        return x, u, torch.cat(outputs, dim=1) if outputs else None

    return _descend(ensemble, draw, judge, settings, after_look)


def _long_enough(kind: str, episodes: Sequence[Episode], settings: FitSettings) -> Windows:
    """Stretches of one kind of the episodes."""
    try:
        return Windows.of(episodes, settings.unroll_steps)
    except ValueError:
        raise ConfigurationError(
            f"data of the model: no episode {kind} has the {settings.unroll_steps} transitions of unroll_steps; "
            "collect more episodes, or longer ones"
        ) from None


def _descend(
    ensemble: Ensemble,
    draw: Callable[[], _Batch],
    judge: _Judge,
    settings: FitSettings,
    after_look: Callable[[FitReport], None],
) -> tuple[Ensemble, FitReport]:
    """Take the gradient steps; returns the members with their best weights.

    Raises:
        ConfigurationError: The weights grew beyond all bounds.
    """
    report = FitReport(unroll_steps=settings.unroll_steps)
    optimiser, schedule = _optimiser(ensemble, settings)
    for step in range(1, settings.steps + 1):
        loss = _loss(ensemble, draw(), settings)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(list(ensemble.parameters.values()), _MAXIMUM_GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        report.steps = step
        if step % settings.evaluation_interval == 0 or step == settings.steps:
            error = judge.look()
            if not math.isfinite(error):
                raise ConfigurationError(
                    f"model: the fit diverged within {step} gradient steps (error {error}); learning_rate = "
                    f"{settings.learning_rate:g} must be lower"
                )
            report.curve.append((step, float(loss.detach()), error))
            report.held_out_errors = judge.best_errors.numpy().astype(float)
            after_look(report)
            if judge.looks_in_vain >= settings.patience:
                break
    return Ensemble(ensemble.task, ensemble.settings, ensemble.scaling, judge.best_parameters), report


class _Judge:
    """Looks at the hold-out and keeps each member's best weights."""

    def __init__(
        self,
        ensemble: Ensemble,
        held_out: Windows,
        settings: FitSettings,
        generator: np.random.Generator,
    ) -> None:
        self._ensemble = ensemble
        count = min(settings.held_out_stretches, len(held_out.starts))
        starts = generator.choice(held_out.starts, size=count, replace=False)
        k = ensemble.num_members
        self._batch = _tensors(ensemble.task, held_out, np.broadcast_to(starts, (k, count)))
        self.best_errors = torch.full((k,), torch.inf)
        self.best_parameters = {n: p.detach().clone() for n, p in ensemble.parameters.items()}
        self.looks_in_vain = 0

    def look(self) -> float:
        """Mean error of the members now."""
        with torch.no_grad():
            errors = _unrolled(self._ensemble, *self._batch)[0].mean(dim=(0, 2, 3))
        better = errors < self.best_errors
        self.best_errors = torch.where(better, errors, self.best_errors)
        for name, parameter in self._ensemble.parameters.items():
            self.best_parameters[name][better] = parameter.detach()[better]
        self.looks_in_vain = 0 if bool(better.any()) else self.looks_in_vain + 1
        return float(errors.mean())


def _optimiser(
    ensemble: Ensemble, settings: FitSettings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    parameters = [parameter.requires_grad_() for parameter in ensemble.parameters.values()]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=settings.steps + 1)
    return optimiser, schedule


_Batch = tuple[Tensor, Tensor, Tensor | None]
"""Observations, actions, and what the first step should say; see :func:`_unrolled`."""


def _batch(task: Task, windows: Windows, samples: Indices, batch_size: int, generator: np.random.Generator) -> _Batch:
    """A batch of each member's bootstrap."""
    columns = generator.integers(samples.shape[1], size=(len(samples), batch_size))
    return _tensors(task, windows, np.take_along_axis(samples, columns, axis=1))


def _tensors(task: Task, windows: Windows, starts: Indices) -> _Batch:
    """Stretches as tensors, time first: (length + 1, num_members, batch, n), (length, ..., m)."""
    observations, actions = windows.take(starts)
    outputs = None
    if task.transition is not None:
        first = learned_outputs(task, observations[..., 0, :], observations[..., 1, :], actions[..., 0, :])
        outputs = torch.from_numpy(first.astype(np.float32))
    return (
        torch.from_numpy(np.moveaxis(observations, 2, 0).astype(np.float32)),
        torch.from_numpy(np.moveaxis(actions, 2, 0).astype(np.float32)),
        outputs,
    )


def _unrolled(
    ensemble: Ensemble, observations: Tensor, actions: Tensor, outputs: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Squared errors of the model run along the recorded actions, and of the first step in detail.

    Args:
        ensemble: The model.
        observations: Shape=(length + 1, num_members, batch, n).
        actions: Shape=(length, num_members, batch, m).
        outputs: What the first step should have said, where that is not the change of the observation.
            Shape=(num_members, batch, num_outputs).

    Returns:
        Errors in units of the deviation of what is learned, Shape=(length, num_members, batch, n; or 1 if they are
        means already), those of the first step and its log variance, each Shape=(num_members, batch, num_outputs).
    """
    state = observations[0]
    errors: list[Tensor] = []
    first_error, first_log_variance = None, None
    for following, action in zip(observations[1:], actions, strict=True):
        mean, log_variance = ensemble.standardised(state, action)
        state = ensemble.moved(state, action, mean)
        error = ensemble.squared_errors(state, following)
        if first_log_variance is None:
            if outputs is not None:
                error = (mean - (outputs - ensemble.output_mean) / ensemble.output_scale) ** 2
            first_error, first_log_variance = error, log_variance
        errors.append(error if outputs is None else error.mean(dim=-1, keepdim=True))
    assert first_error is not None
    assert first_log_variance is not None
    return torch.stack(errors), first_error, first_log_variance


def _loss(ensemble: Ensemble, batch: _Batch, settings: FitSettings) -> Tensor:
    """Squared error of the mean plus the Gaussian likelihood of the variance, summed over members.

    The variance is fitted to the mean's error without pulling on the mean (beta = 1 in the beta-NLL
    of Seitzer et al., *On the pitfalls of heteroscedastic uncertainty estimation with probabilistic
    neural networks*, ICLR 2022): with the plain likelihood the entries that are already precise get
    all of the gradient.
    """
    errors, first, log_variance = _unrolled(ensemble, *batch)
    likelihood = 0.5 * (first.detach() * torch.exp(-log_variance) + log_variance)
    loss = errors[0].mean(dim=(1, 2)).sum() + likelihood.mean(dim=(1, 2)).sum()
    if len(errors) > 1:
        loss = loss + settings.unroll_weight * errors[1:].mean(dim=(0, 2, 3)).sum()
    spread = ensemble.parameters["upper"] - ensemble.parameters["lower"]
    return loss + _BOUND_PENALTY * spread.mean(dim=(1, 2)).sum()
