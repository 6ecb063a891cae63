"""Runs of the loop as experiments want them: judged, recorded, and resumed after any interruption."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from demo_control.configuration import ConfigurationError
from demo_control.experiments.stopping import stops_between_steps
from demo_control.experiments.training import Record, RunRequest
from demo_control.learning.gymnasium_environments import gymnasium_problem
from demo_control.learning.model_based.evaluation import evaluate
from demo_control.learning.model_based.loop import ModelBasedLearner
from demo_control.learning.model_based.settings import TrainerSettings
from demo_control.learning.precision import matrix_products
from demo_control.learning.seeding import Purpose, stream
from demo_control.learning.storage import UNREADABLE, save_tensors
from demo_control.texts import first_line

CHECKPOINT = "learner.pt"
CHECKPOINT_INTERVAL_S = 60.0


def train(request: RunRequest, folder: Path, on_record: Callable[[Record], None]) -> list[Record]:
    """Train, or go on where the checkpoint in ``folder`` is; see :data:`demo_control.experiments.training.Trainer`.

    Raises:
        ConfigurationError: Wrong settings or environment, or a checkpoint of another request.
        KeyboardInterrupt: It was asked to stop; what it has done is in the checkpoint.
    """
    settings = TrainerSettings.from_mapping(request.settings)
    path = folder / CHECKPOINT
    precision = matrix_products(settings.loop.matrix_products)
    with precision, torch.no_grad(), closing(TrainingRun(request, settings, on_record)) as run:
        if path.exists():
            run.restore(path)
        run.run(path)
    return run.records


class TrainingRun:
    """A learner and the records of its run; :meth:`close` it.

    Args:
        request: What is asked for.
        settings: The trainer's.
        on_record: Told of each new record.
    """

    def __init__(self, request: RunRequest, settings: TrainerSettings, on_record: Callable[[Record], None]) -> None:
        self._request, self._settings, self._on_record = request, settings, on_record
        problem = gymnasium_problem(request.environment)
        self.learner = ModelBasedLearner(problem, settings, request.seed, request.steps)
        self.records: list[Record] = []
        self._seconds_before, self._started_s = 0.0, time.monotonic()

    def run(self, path: Path, interval_s: float = CHECKPOINT_INTERVAL_S) -> None:
        """To the end, with a checkpoint from time to time, when it is asked to stop, and at the end.

        Raises:
            KeyboardInterrupt: It was asked to stop.
        """
        learner, evaluation = self.learner, self._request.evaluation
        saved_s = time.monotonic()
        with stops_between_steps() as asked:
            while learner.step_count < self._request.steps and not self._stops():
                learner.step(self._tell)
                if learner.step_count % evaluation.every_steps == 0 or learner.step_count == self._request.steps:
                    self._evaluate()
                stops = asked()
                if stops or time.monotonic() - saved_s >= interval_s:
                    self.save(path)
                    saved_s = time.monotonic()
                if stops:
                    raise KeyboardInterrupt
            self.save(path)

    def close(self) -> None:
        """Release the learner's environment."""
        self.learner.environment.close()

    def _evaluate(self) -> None:
        evaluation, learner = self._request.evaluation, self.learner
        returns = evaluate(learner.problem, learner.learner, evaluation.episodes, evaluation.seed)
        self._tell("evaluation", {"return_mean": float(returns.mean()), "return_deviation": float(returns.std())})
        if learner.step_count > self._settings.loop.initial_steps:
            size, m = self._settings.sac.batch_size, learner.problem.action_dim
            generator = stream(self._request.seed, Purpose.FIGURES, learner.step_count)
            batch = np.empty((size, learner.learner.layout.width), np.float32)
            learner.real.take(generator.integers(len(learner.real), size=size), batch)
            figures = learner.learner.figures(batch, generator.standard_normal((2, size, m), np.float32))
            self._tell("learner", asdict(figures))

    def _stops(self) -> bool:
        """Whether the last evaluations are as good as asked for."""
        count, wanted = self._request.evaluation.stop_in_a_row, self._request.evaluation.stop_return
        evaluations = [record for record in self.records if record.kind == "evaluation"][-count:] if count else []
        return 0 < count == len(evaluations) and all(r.values["return_mean"] >= wanted for r in evaluations)

    def _tell(self, kind: str, values: Mapping[str, float]) -> None:
        seconds = self._seconds_before + time.monotonic() - self._started_s
        record = Record(kind, self.learner.step_count, seconds, {name: float(value) for name, value in values.items()})
        self.records.append(record)
        self._on_record(record)

    def save(self, path: Path) -> None:
        """Write all that decides what follows; see :func:`demo_control.learning.storage.save_tensors`."""
        learner = self.learner
        content: dict[str, Any] = {
            "request": self._identity(),
            "records": [asdict(record) for record in self.records],
            "seconds": self._seconds_before + time.monotonic() - self._started_s,
            "step_count": learner.step_count,
            "episode": learner.episode,
            "episode_began": learner.episode_began,
            "observation": torch.from_numpy(learner.observation),
            "environment": torch.from_numpy(learner.environment.states()),
            "states": torch.from_numpy(learner.visited.rows()),
            "learner": learner.learner.state(),
            "fitter": learner.fitter.state(),
        }
        for name, buffer in (("real", learner.real), ("imagined", learner.imagined)):
            rows, next_row = buffer.state()
            content[name] = {"rows": torch.from_numpy(rows), "next": next_row}
        save_tensors(path, content)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ConfigurationError: It is of another request, or cannot be read.
        """
        learner = self.learner
        try:
            content: dict[str, Any] = torch.load(path, weights_only=True)
            same = content["request"] == self._identity()
        except UNREADABLE as error:
            raise ConfigurationError(_unreadable(path, error)) from error
        if not same:
            raise ConfigurationError(f"checkpoint '{path}' is of another request; choose another folder")
        try:
            self.records = [Record(**record) for record in content["records"]]
            self._seconds_before, self._started_s = content["seconds"], time.monotonic()
            learner.step_count, learner.episode = content["step_count"], content["episode"]
            learner.episode_began = content["episode_began"]
            learner.environment.set_states(content["environment"].numpy())
            learner.observation = content["observation"].numpy()
            learner.visited.restore(content["states"].numpy())
            learner.learner.restore(content["learner"])
            learner.fitter.restore(content["fitter"])
            for name, buffer in (("real", learner.real), ("imagined", learner.imagined)):
                buffer.restore(content[name]["rows"].numpy(), content[name]["next"])
        except UNREADABLE as error:
            raise ConfigurationError(_unreadable(path, error)) from error

    def _identity(self) -> str:
        """What a checkpoint must agree with."""
        return json.dumps({**asdict(self._request), "settings": self._settings.as_mapping()}, sort_keys=True)


def _unreadable(path: Path, error: Exception) -> str:
    return f"checkpoint '{path}' cannot be read ({first_line(error)}); delete it to start anew"
