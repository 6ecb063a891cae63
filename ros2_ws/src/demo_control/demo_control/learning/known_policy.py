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
from demo_control.configuration import ConfigurationError
from demo_control.learning.ars import SearchState
from demo_control.learning.provenance import git_revision, training_command
from demo_control.learning.stages import POLICY_CHECKPOINT, Run
from demo_control.learning.storage import load_json, save_json
from demo_control.policies import linear_policy_model

_MODEL_POLICY = "model-policy.json"
_CURVES = ("policy_return.png", "policy_return.csv")


@dataclass(frozen=True)
class FoundPolicy:
    """A policy and where it comes from.

    Attributes:
        model: policy.onnx.
        provenance: How it was found: command, seed, revision, settings, iterations, return; 'return' is None where
            nobody knows.
        state: The search that found it, or None if that was another run's.
    """

    model: onnx.ModelProto
    provenance: Mapping[str, Any]
    state: SearchState | None = None

    @property
    def mean_return(self) -> float | None:
        """Its return in the search's evaluation."""
        value = self.provenance["return"]
        return None if value is None else float(value)


def found_policy(run: Run, state: SearchState) -> FoundPolicy:
    """The best policy of this run's search."""
    best, task = state.best, run.task
    model = linear_policy_model(
        best.weights, best.bias, best.mean, best.scale, task.action_minimum, task.action_maximum
    )
    names = () if task.policy_training is None else task.policy_training.evaluation_names
    search = {name: value for name, value in run.settings.as_mapping().items() if name.startswith("search.")}
    changed = {name: value for name, value in run.settings.changed(task).items() if name in search}
    provenance = {
        "command": training_command(task.name, run.seed, changed, "policy"),
        "seed": run.seed,
        "git_revision": git_revision(),
        "settings": search,
        "iterations": state.iteration,
        "return": round(state.best_return, 1),
        "returns": {name: round(float(value), 1) for name, value in zip(names, state.best_returns, strict=False)},
    }
    return FoundPolicy(model, provenance, state)


def known_policy(run: Run) -> FoundPolicy:
    """The policy of this run's finished search, or else the shipped one.

    Raises:
        ConfigurationError: There is neither.
    """
    state = run.folder.resumed(POLICY_CHECKPOINT, SearchState.load)
    if state is not None:
        if state.iteration < run.settings.search.iterations:
            raise ConfigurationError(
                f"stage = 'model': the search in '{run.folder.directory}' is at iteration {state.iteration} of "
                f"{run.settings.search.iterations}; finish it with the stage 'policy'"
            )
        return found_policy(run, state)
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
    return FoundPolicy(model, provenance or {"command": "unknown", "return": None})


def claim_folder(run: Run, found: FoundPolicy) -> None:
    """Note for which policy the data of this folder are.

    Raises:
        ConfigurationError: They are for another one.
    """
    digest = hashlib.sha256(found.model.SerializeToString(deterministic=True)).hexdigest()
    path = run.folder.file(_MODEL_POLICY)
    if path.exists() and load_json(path) != {"sha256": digest}:
        raise ConfigurationError(
            f"'{run.folder.directory}' holds data of another policy; choose another folder with --out"
        )
    save_json(path, {"sha256": digest})
