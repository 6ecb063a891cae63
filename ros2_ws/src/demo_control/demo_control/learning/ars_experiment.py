"""Augmented random search as a trainer of experiments: a linear policy for an environment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from demo_control.configuration import ConfigurationError, Scalar, setting
from demo_control.experiments.stopping import stops_between_steps
from demo_control.experiments.training import Record, RunRequest
from demo_control.learning.ars import RandomSearch, SearchState
from demo_control.learning.ars_settings import UpdateSettings
from demo_control.learning.environment_trials import EnvironmentTrials
from demo_control.learning.gymnasium_environments import gymnasium_problem
from demo_control.learning.storage import load_arrays, save_arrays
from demo_control.learning.workers import Processes, num_cores

GROUP = "ars"
CHECKPOINT = "ars.npz"
_CHECKPOINT_INTERVAL_S = 10.0


@dataclass(frozen=True)
class ExperimentSettings(UpdateSettings):
    """The group ``ars`` of an experiment's settings."""

    use_bias: bool = setting(False, "Whether the policy has a constant term; the paper's has none.")
    survival_bonus: float = setting(
        0.0, "Reward per step that the search leaves out, else standing still pays; the paper has 1 for Hopper and Ant."
    )
    processes: int = setting(1, "Processes that try directions; 0: as many as cores.", minimum=0)


def train(request: RunRequest, folder: Path, on_record: Callable[[Record], None]) -> Sequence[Record]:
    """See :data:`demo_control.experiments.training.Trainer`.

    An update is made of whole episodes, so evaluations come at the first update after they are due. The episodes that
    would exceed the steps of the request are not used for an update.

    Raises:
        ConfigurationError: Wrong settings or environment, or a checkpoint of another request, or a damaged one.
        KeyboardInterrupt: It was asked to stop; what it has done is in the checkpoint.
    """
    settings = _settings(request.settings)
    problem, evaluation = gymnasium_problem(request.environment), request.evaluation
    with stops_between_steps() as asked, Processes(settings.processes or num_cores()) as processes:
        trials = EnvironmentTrials(
            processes,
            request.environment,
            seed=request.seed,
            survival_bonus=settings.survival_bonus,
            evaluation_episodes=evaluation.episodes,
            evaluation_seed=evaluation.seed,
        )
        run = _load(folder / CHECKPOINT, request) or _Run(SearchState.initial(problem))
        search = RandomSearch(trials, settings, request.seed, run.state)
        clock = _Clock(run.seconds)
        saved_s = clock.seconds
        while run.steps < request.steps and not _stops(run.records, request):
            before, due = search.state, run.steps // evaluation.every_steps + 1
            tried = search.update()
            steps = run.steps + len(tried.observations)
            if steps > request.steps:
                search.state, steps = before, request.steps
            records = run.records
            if steps >= min(due * evaluation.every_steps, request.steps):
                records = [*records, _evaluated(search, steps, clock.seconds)]
            new = len(records) > len(run.records)
            run = _Run(search.state, steps, clock.seconds, records)
            if new:
                # Before the checkpoint holds it: what is told twice after an interruption can be recognised, what was
                # never told is lost.
                on_record(records[-1])
            stops = asked()
            if new or stops or clock.seconds > saved_s + _CHECKPOINT_INTERVAL_S:
                _save(folder / CHECKPOINT, request, run)
                saved_s = clock.seconds
            if stops:
                raise KeyboardInterrupt
    return run.records


@dataclass(frozen=True)
class _Run:
    """What a checkpoint holds.

    Attributes:
        state: Of the search.
        steps: Environment steps of its updates.
        seconds: Spent so far.
        records: So far.
    """

    state: SearchState
    steps: int = 0
    seconds: float = 0.0
    records: Sequence[Record] = ()


class _Clock:
    """Seconds of a run over all interruptions.

    Args:
        before: Spent earlier.
    """

    def __init__(self, before: float) -> None:
        self._origin = time.monotonic() - before

    @property
    def seconds(self) -> float:
        """So far."""
        return time.monotonic() - self._origin


def _evaluated(search: RandomSearch, steps: int, seconds: float) -> Record:
    returns = search.evaluate()
    values = {
        "return_mean": float(returns.mean()),
        "return_deviation": float(returns.std()),
        "updates": float(search.state.iteration),
    }
    return Record("evaluation", steps, seconds, values)


def _stops(records: Sequence[Record], request: RunRequest) -> bool:
    """Whether the last evaluations are as good as asked for."""
    count, wanted = request.evaluation.stop_in_a_row, request.evaluation.stop_return
    last = records[-count:] if count else ()
    return 0 < count == len(last) and all(record.values["return_mean"] >= wanted for record in last)


def _settings(values: Mapping[str, Scalar]) -> ExperimentSettings:
    own = {}
    for dotted, value in values.items():
        group, _, name = dotted.partition(".")
        if group != GROUP:
            raise ConfigurationError(f"setting '{dotted}': the trainer '{GROUP}' has the group '{GROUP}' only")
        own[name] = value
    return ExperimentSettings.from_mapping(own, source=GROUP)


def _identity(request: RunRequest) -> str:
    """What a checkpoint must agree with; results do not depend on the number of processes."""
    content = asdict(request)
    content["settings"] = _settings(request.settings).as_mapping() | {"processes": 0}
    return json.dumps(content, sort_keys=True)


def _save(path: Path, request: RunRequest, run: _Run) -> None:
    rest = {
        "request": _identity(request),
        "steps": run.steps,
        "seconds": run.seconds,
        "records": [asdict(record) for record in run.records],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(path, {**run.state.arrays(), "run": np.array(json.dumps(rest))})


def _load(path: Path, request: RunRequest) -> _Run | None:
    if not path.exists():
        return None
    try:
        arrays = load_arrays(path)
        rest = cast("dict[str, Any]", json.loads(str(arrays["run"])))
        state = SearchState.of_arrays(cast("dict[str, Any]", arrays))
        run = _Run(state, rest["steps"], rest["seconds"], [Record(**record) for record in rest["records"]])
        same = rest["request"] == _identity(request)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigurationError(f"checkpoint '{path}' cannot be read ({error}); delete it to start anew") from error
    if not same:
        raise ConfigurationError(f"{path}: is of another request; choose another folder, or delete it")
    return run
