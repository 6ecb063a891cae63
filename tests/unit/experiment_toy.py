"""A trainer that learns nothing: it counts steps, writes checkpoints, and fails or dies where it is told to."""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from demo_control.configuration import ConfigurationError
from demo_control.experiments.training import Record, RunRequest
from demo_control.files import write_text_atomically

STATE = "state.json"


def train(request: RunRequest, folder: Path, told: Callable[[Record], None]) -> Sequence[Record]:
    settings, evaluation = request.settings, request.evaluation
    if "toy.unknown" in settings:
        raise ConfigurationError("unknown setting 'toy.unknown'")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / STATE
    state = json.loads(path.read_text()) if path.exists() else {"step": 0, "records": []}
    while state["step"] < request.steps:
        time.sleep(float(settings.get("toy.pause_s", 0.0)))
        state["step"] += evaluation.every_steps
        step = state["step"]
        noise = float(np.random.default_rng([request.seed, step]).normal())
        rising = float(settings.get("toy.rate", 1.0)) * step / request.steps
        for kind, values in (
            ("model", {"held_out_error": 1.0 / step, "calibration": 0.9 + 0.01 * noise}),
            ("plan", {"truly_better": 0.6 + 0.01 * noise}),
            ("evaluation", {"return_mean": 1000.0 * rising + noise, "return_deviation": 1.0}),
        ):
            state["records"].append([kind, step, step / 100.0, values])
            told(Record(kind, step, step / 100.0, values))
        if settings.get("toy.fails_at") == step and settings.get("toy.fails_with_seed", request.seed) == request.seed:
            raise RuntimeError("the toy fell over")
        if settings.get("toy.dies_at") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        # Every second time only: the records after the last checkpoint are told again.
        if step // evaluation.every_steps % 2 == 0:
            write_text_atomically(path, json.dumps(state))
    write_text_atomically(path, json.dumps(state))
    return [Record(*row) for row in state["records"]]
