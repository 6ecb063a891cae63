"""The policy that a model is learned for: what this run has found, or what is shipped."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from demo_control.bundle import default_bundle
from demo_control.bundle.bundle import CONTRACT_FILE
from demo_control.configuration import ConfigurationError, Scalar
from demo_control.learning.ars import SearchState
from demo_control.learning.episodes import ControlLaw
from demo_control.learning.policy_learning import learned_policy
from demo_control.learning.provenance import git_revision, training_command
from demo_control.learning.sac.export import policy_model, value_model
from demo_control.learning.sac.task_learner import TaskLearner
from demo_control.learning.settings import POLICIES
from demo_control.learning.stages import POLICY_CHECKPOINT, Run
from demo_control.learning.storage import load_json, save_json
from demo_control.policies import OnnxPolicy, linear_policy_model
from demo_control.tasks import Array

_MODEL_POLICY = "model-policy.json"
_CURVES = ("policy_return.png", "policy_return.csv")


@dataclass(frozen=True)
class FoundPolicy:
    """A policy and where it comes from.

    Attributes:
        model: policy.onnx.
        provenance: How it was found: command, seed, revision, settings, iterations or steps, return; 'return' is None
            where nobody knows.
        mean_return: Its return in the evaluation that chose it, or None where nobody knows.
        law: What it does, or None if another run found it.
        value: value.onnx, or None.
    """

    model: onnx.ModelProto
    provenance: Mapping[str, Any]
    mean_return: float | None
    law: ControlLaw | None = None
    value: onnx.ModelProto | None = None


def found_policy(run: Run, state: SearchState) -> FoundPolicy:
    """The best policy of this run's search."""
    best, task = state.best, run.task
    model = linear_policy_model(
        best.weights, best.bias, best.mean, best.scale, task.action_minimum, task.action_maximum
    )
    provenance = _provenance(run, {"iterations": state.iteration}, state.best_return, state.best_returns)
    return FoundPolicy(model, provenance, state.best_return, lambda observations: best.act(observations, task))


def found_network(run: Run, learner: TaskLearner) -> FoundPolicy:
    """The best policy that this run has learned, with its value where plans can use it.

    Plans that decide on corrections are made in another problem, with states, costs and steps of its own: there the
    value of the policy's rewards says nothing.
    """
    best, task, inputs = learner.best(), run.task, learner.inputs
    n = task.observation_dim
    model = policy_model(best, task.action_minimum, task.action_maximum, n, inputs, learner.base)
    value = None
    if task.planning is None:
        value = value_model(best, n, inputs=inputs, unit=run.settings.learning.reward_unit,
                            offset=learner.offset_value)  # fmt: skip
    done = {"method": "soft actor-critic", "steps": learner.step_count}
    provenance = _provenance(run, done, learner.best_return, learner.best_returns)
    return FoundPolicy(model, provenance, learner.best_return, OnnxPolicy(model).act, value)


def _provenance(run: Run, done: Mapping[str, object], mean_return: float, returns: Array) -> dict[str, Any]:
    """How this run found its policy."""
    task = run.task
    groups = POLICIES[run.policy]
    names = () if task.policy_training is None else task.policy_training.evaluation_names

    def own(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {name: value for name, value in values.items() if name.partition(".")[0] in groups}

    return {
        "command": training_command(
            task.name, run.seed, own(run.settings.changed(task, run.policy)), "policy", run.policy
        ),
        "seed": run.seed,
        "git_revision": git_revision(),
        "settings": own(run.settings.as_mapping()),
        **done,
        "return": round(mean_return, 1),
        "returns": {name: round(float(value), 1) for name, value in zip(names, returns, strict=False)},
    }


def known_policy(run: Run) -> FoundPolicy:
    """The policy of this run's finished search, or else the shipped one, where plans correct it and it is of the kind.

    Raises:
        ConfigurationError: There is neither; the folder is then as it was.
    """
    if run.policy == "sac":
        learner = learned_policy(run)
        if learner is None or not learner.finished:
            raise ConfigurationError(
                f"stage = 'model': '{run.folder.directory}' holds no policy that is learned to the end; "
                f"finish it with the stage 'policy'"
            )
        return found_network(run, learner)
    state = run.folder.resumed(POLICY_CHECKPOINT, SearchState.load)
    if state is not None:
        if state.iteration < run.settings.search.iterations:
            raise ConfigurationError(
                f"stage = 'model': the search in '{run.folder.directory}' is at iteration {state.iteration} of "
                f"{run.settings.search.iterations}; finish it with the stage 'policy'"
            )
        return found_policy(run, state)
    if run.task.planning is None:
        # Its data are collected with the law of the search, which no bundle holds.
        raise ConfigurationError(f"stage = 'model': '{run.folder.directory}' holds no policy; run the stage 'policy'")
    return _shipped(run)


def _shipped(run: Run) -> FoundPolicy:
    """The policy of the shipped bundle, with its curves."""
    folder = default_bundle(run.task.name)
    try:
        model = onnx.load_model(folder / "policy.onnx")
        provenance = json.loads((folder / CONTRACT_FILE).read_text(encoding="utf-8"))["provenance"].get("policy")
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(
            f"stage = 'model': neither this run nor '{folder}' has a policy ({error}); run the stage 'policy' first"
        ) from None
    for name in _CURVES:
        source, target = folder / "curves" / name, run.folder.curves / name
        if source.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    provenance = provenance or {"command": "unknown", "return": None}
    return FoundPolicy(model, provenance, provenance["return"])


def claim_folder(run: Run, found: FoundPolicy) -> None:
    """Note for which policy the data of this folder are.

    Raises:
        ConfigurationError: They are for another one, or the note cannot be read.
    """
    digest = hashlib.sha256(found.model.SerializeToString(deterministic=True)).hexdigest()
    claimed = run.folder.resumed(_MODEL_POLICY, load_json)
    if claimed is not None and claimed != {"sha256": digest}:
        raise ConfigurationError(
            f"'{run.folder.directory}' holds data of another policy; choose another folder with --out"
        )
    save_json(run.folder.file(_MODEL_POLICY), {"sha256": digest})
