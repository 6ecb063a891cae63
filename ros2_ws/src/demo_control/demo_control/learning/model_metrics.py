"""How good an exported dynamics model is, on episodes it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

from demo_control.configuration import ConfigurationError
from demo_control.learning.dataset import Windows
from demo_control.learning.episodes import Episode
from demo_control.onnx_graph import make_session
from demo_control.tasks import Array, Task
from demo_control.transitions import learned_entries, learned_outputs

_MAXIMUM_STRETCHES = 1000


@dataclass(frozen=True)
class ModelMetrics:
    """Errors and calibration; 'no change' is the error of predicting that nothing moves.

    Attributes:
        names: Of the observation entries that depend on what the model has learned.
        errors: Root mean square error of each member's own rollout along the recorded actions, over
            members and stretches. Shape=(horizon, len(names)).
        no_change: The same of predicting the first observation. Shape=(horizon, len(names)).
        within: Share of one-step errors within 1 and 2 predicted deviations (of a Gaussian: .683
            and .954), of what the model has learned. Shape=(2, num_outputs).
        outputs: Names of what the model has learned.
        stretches: Stretches of data that the errors are taken over.
    """

    names: tuple[str, ...]
    errors: Array
    no_change: Array
    within: Array
    outputs: tuple[str, ...]
    stretches: int

    def as_mapping(self) -> dict[str, object]:
        """The figures as JSON."""

        def row(values: Array, names: Sequence[str]) -> dict[str, float]:
            return {n: float(f"{v:.4g}") for n, v in zip(names, values, strict=True)}

        return {
            "horizon": len(self.errors),
            "stretches": self.stretches,
            "one_step_error": row(self.errors[0], self.names),
            "one_step_no_change": row(self.no_change[0], self.names),
            "horizon_error": row(self.errors[-1], self.names),
            "horizon_no_change": row(self.no_change[-1], self.names),
            "within_1_sigma": row(self.within[0], self.outputs),
            "within_2_sigma": row(self.within[1], self.outputs),
        }


def measure(
    task: Task,
    model: onnx.ModelProto,
    episodes: Sequence[Episode],
    horizon: int,
    generator: np.random.Generator,
) -> ModelMetrics:
    """Measure dynamics.onnx on episodes.

    Args:
        task: Gives the names.
        model: dynamics.onnx.
        episodes: Not used in training.
        horizon: Steps of the longest prediction, if an episode is that long.
        generator: Draws the stretches.

    Raises:
        ConfigurationError: There is no transition.
    """
    longest = max(map(len, episodes), default=0)
    if not longest:
        raise ConfigurationError(
            "data of the model: no episode that it was not fitted to has a transition to measure it on; collect more "
            "episodes, or longer ones"
        )
    horizon = min(horizon, longest)
    windows = Windows.of(episodes, horizon)
    count = min(_MAXIMUM_STRETCHES, len(windows.starts))
    observations, actions = windows.take(generator.choice(windows.starts, count, replace=False))
    session = make_session(model)
    members = int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)
    state = np.broadcast_to(observations[:, 0], (members, *observations[:, 0].shape))
    within = _calibration(task, session, windows, members, generator)
    learned = learned_entries(task)
    errors = []
    for step in range(horizon):
        action = np.broadcast_to(actions[:, step], (members, *actions[:, step].shape))
        state = _run(session, state, action)[0]
        errors.append(_root_mean_square(state - observations[:, step + 1])[learned])
    still = [_root_mean_square(observations[:, h + 1] - observations[:, 0])[learned] for h in range(horizon)]
    names = tuple(task.observation[index].name for index in learned)
    outputs = names if task.transition is None else task.transition.outputs
    return ModelMetrics(names, np.array(errors), np.array(still), within, outputs, count)


def _run(session: onnxruntime.InferenceSession, x: Array, u: Array) -> list[Array]:
    feeds = {"observation": x.astype(np.float32), "action": u.astype(np.float32)}
    outputs = session.run(["next_observation", "log_variance"], feeds)
    return [output.astype(np.float64) for output in outputs]


def _root_mean_square(errors: Array) -> Array:
    return np.asarray(np.sqrt((errors**2).mean(axis=tuple(range(errors.ndim - 1)))))


def _calibration(
    task: Task,
    session: onnxruntime.InferenceSession,
    windows: Windows,
    members: int,
    generator: np.random.Generator,
) -> Array:
    """Share of one-step errors within 1 and 2 predicted deviations. Shape=(2, num_outputs)."""
    starts = generator.choice(windows.starts, size=_MAXIMUM_STRETCHES)
    x, u = windows.take(starts)
    shape = (members, len(starts), -1)
    state = np.broadcast_to(x[:, 0], (members, *x[:, 0].shape)).reshape(shape)
    action = np.broadcast_to(u[:, 0], (members, *u[:, 0].shape)).reshape(shape)
    following, log_variance = _run(session, state, action)
    # What the model said follows from where it went, as what it should have said follows from the data.
    said = learned_outputs(task, state, following, action)
    wanted = learned_outputs(task, state, np.broadcast_to(x[:, 1], state.shape), action)
    ratio = np.abs(said - wanted) / np.exp(0.5 * log_variance)
    return np.stack([(ratio <= sigmas).mean(axis=(0, 1)) for sigmas in (1.0, 2.0)])
