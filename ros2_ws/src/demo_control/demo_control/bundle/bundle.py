"""A bundle in memory and on disk: made, saved, loaded and validated."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from demo_control.bundle.contract import BundleError, Contract, PlanningContract, learned_names
from demo_control.files import write_bytes_atomically
from demo_control.onnx_graph import OPSET, make_session, opset_of
from demo_control.tasks import Array, Quantity, Task
from demo_control.texts import first_line

CONTRACT_FILE = "contract.json"
CARD_FILE = "README.md"
MODELS_VARIABLE = "DEMO_MODELS"
_MAXIMUM_FILE_BYTES = 256 * 1024 * 1024
_MEMBER_INPUT_RANK = 3
_BATCHES = (2, 1)
"""That each graph is tried with, more than one state and a robot's own: one for a fixed number of states fails."""
_NOT_RENAMED = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)
"""What renaming a mount point says, or a folder in one that must not be written to."""


@dataclass(frozen=True)
class Bundle:
    """A policy with the model that plans for it.

    Attributes:
        contract: What the graphs expect and promise.
        policy: ``observation (batch, n) → action (batch, m)``.
        dynamics: ``observation (members, batch, n), action (members, batch, m) → next_observation (members, batch, n),
            log_variance (members, batch, k)``, of the planning problem; k is n but for a task with a transition, where
            it is the number of learned quantities.
        value: ``observation (batch, n) → value (batch, 1)``, or None.
    """

    contract: Contract
    policy: onnx.ModelProto
    dynamics: onnx.ModelProto
    value: onnx.ModelProto | None = None

    @cached_property
    def sha256(self) -> str:
        """Hash of the contract, which holds the hashes of all files."""
        # Kept: nodes tell it every second, and writing the contract takes milliseconds.
        return hashlib.sha256(self.contract.to_json().encode()).hexdigest()

    def models(self) -> dict[str, onnx.ModelProto]:
        """The graphs by file name."""
        models = {"policy.onnx": self.policy, "dynamics.onnx": self.dynamics}
        if self.value is not None:
            models["value.onnx"] = self.value
        return models


def make_bundle(
    task: Task,
    *,
    policy: onnx.ModelProto,
    dynamics: onnx.ModelProto,
    value: onnx.ModelProto | None = None,
    provenance: Mapping[str, object] | None = None,
    metrics: Mapping[str, object] | None = None,
) -> Bundle:
    """Put graphs together to a validated bundle, in memory.

    Args:
        task: The task they were trained for.
        policy: See :class:`Bundle`.
        dynamics: See :class:`Bundle`; its members are read from the graph's input.
        value: See :class:`Bundle`.
        provenance: How it was made; must be JSON.
        metrics: Measured quality; must be JSON.

    Raises:
        BundleError: A graph that does not fit the task.
    """
    models = {"policy.onnx": policy, "dynamics.onnx": dynamics}
    if value is not None:
        models["value.onnx"] = value
    contract = Contract(
        task=task.name,
        observation=task.observation,
        action=task.action,
        control_period_s=task.control_period_s,
        model_period_s=task.planning_problem.control_period_s,
        members=_members(dynamics),
        opset=OPSET,
        files={name: _sha256(model.SerializeToString(deterministic=True)) for name, model in models.items()},
        provenance=dict(provenance or {}),
        metrics=dict(metrics or {}),
        planning=PlanningContract.of(task),
        outputs=learned_names(task),
    )
    bundle = Bundle(contract, policy, dynamics, value)
    _check_graphs(bundle)
    return bundle


def save_bundle(bundle: Bundle, directory: Path | str, card: str) -> None:
    """Write a bundle; the directory holds either all of it or what it held before.

    Files in the directory that the bundle does not name (plots of the model card) are kept. A directory that cannot be
    replaced (a mount point, one that this process works in) gets the files one by one, the contract last: interrupted
    there, it holds a bundle that is refused.

    Args:
        bundle: What to save.
        directory: Made if missing.
        card: Text of the model card, Markdown.

    Raises:
        OSError: It could not be written, or a file is there, which stays.
    """
    directory = Path(os.path.realpath(directory))
    if directory.exists() and not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
    contents = {name: model.SerializeToString(deterministic=True) for name, model in bundle.models().items()}
    contents |= {CARD_FILE: card.encode(), CONTRACT_FILE: bundle.contract.to_json().encode()}
    # A shell would go on working in a folder that is no more.
    if not Path.cwd().is_relative_to(directory):
        try:
            _save_whole(contents, directory)
            return
        except OSError as error:
            if error.errno is None:
                raise
            if error.errno not in _NOT_RENAMED or not directory.is_dir():
                raise OSError(error.errno, error.strerror, str(directory)) from error
    for name, content in contents.items():
        write_bytes_atomically(directory / name, content)


def _save_whole(contents: Mapping[str, bytes], directory: Path) -> None:
    """Put a directory with new contents, and all others that it held, in its place."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        # mkdtemp makes folders private; a bundle is meant to be read.
        beside.chmod(0o755)
        if directory.is_dir():
            # With its rights, and links as links: one may lead to a large folder, or nowhere.
            shutil.copytree(directory, beside, symlinks=True, dirs_exist_ok=True)
        for name, content in contents.items():
            (beside / name).unlink(missing_ok=True)
            (beside / name).write_bytes(content)
        _replace_directory(beside, directory)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _replace_directory(new: Path, directory: Path) -> None:
    """Put ``new`` in the place of ``directory`` by renaming, and remove what was there."""
    if not directory.exists():
        new.rename(directory)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{directory.name}-old-", dir=directory.parent))
    moved = old / directory.name
    try:
        directory.rename(moved)
        new.rename(directory)
    except BaseException:  # also Ctrl-C between the two
        if not directory.exists():
            moved.rename(directory)
        shutil.rmtree(old, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def load_bundle(directory: Path | str, task: Task | None = None) -> Bundle:
    """Load and validate a bundle.

    Args:
        directory: Holds contract.json and the graphs.
        task: The task it must fit, or None to check the bundle by itself.

    Raises:
        BundleError: The first thing that is wrong: missing or unreadable file, hash, contract, names, units,
            dimensions, numbers that are not finite, a graph that does not run.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise BundleError(f"bundle directory '{directory}' does not exist")
    try:
        text = _read(directory / CONTRACT_FILE).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{CONTRACT_FILE}: not UTF-8 text ({error.reason})") from None
    contract = Contract.from_json(text)
    if task is not None:
        contract.check_task(task)
    for name in ("policy.onnx", "dynamics.onnx"):
        if name not in contract.files:
            raise BundleError(f"{CONTRACT_FILE}: files does not name '{name}'")
    models = {}
    for name, digest in contract.files.items():
        content = _read(directory / name)
        found = _sha256(content)
        if found != digest:
            raise BundleError(f"{name}: SHA-256 is {found}, {CONTRACT_FILE} expects {digest}")
        models[name] = _parse(name, content)
    unknown = set(models) - {"policy.onnx", "dynamics.onnx", "value.onnx"}
    if unknown:
        raise BundleError(f"{CONTRACT_FILE}: files names unknown {sorted(unknown)}")
    bundle = Bundle(contract, models["policy.onnx"], models["dynamics.onnx"], models.get("value.onnx"))
    _check_graphs(bundle)
    return bundle


def default_bundle(task_name: str) -> Path:
    """Directory of the bundle that is shipped for a task.

    The environment variable DEMO_MODELS may name another folder of bundles.
    """
    override = os.environ.get(MODELS_VARIABLE)
    folder = Path(override) if override else Path(str(resources.files("demo_control"))) / "models"
    return folder / task_name


def _read(path: Path) -> bytes:
    """A file's content, or a BundleError."""
    try:
        if path.stat().st_size > _MAXIMUM_FILE_BYTES:
            raise BundleError(f"{path.name}: larger than {_MAXIMUM_FILE_BYTES} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{path.name}: missing in '{path.parent}'") from None
    except OSError as error:
        raise BundleError(f"{path.name}: cannot be read ({error.strerror})") from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _parse(name: str, content: bytes) -> onnx.ModelProto:
    """Parse and check one graph."""
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise BundleError(f"{name}: not a valid ONNX file ({first_line(error)})") from None
    return model


def _members(dynamics: onnx.ModelProto) -> int:
    """Number of ensemble members, from the shape of the graph's first input."""
    for value in dynamics.graph.input:
        shape = value.type.tensor_type.shape.dim
        if value.name == "observation" and len(shape) == _MEMBER_INPUT_RANK:
            return int(shape[0].dim_value)
    raise BundleError("dynamics.onnx: input 'observation' must have the shape (members, batch, n)")


def _check_graphs(bundle: Bundle) -> None:
    """Names, shapes, opset, finite weights, and a run of each graph on the middle of the ranges."""
    contract = bundle.contract
    members = contract.members
    if _members(bundle.dynamics) != members:
        raise BundleError(f"dynamics.onnx: {_members(bundle.dynamics)} members, contract.json says {members}")
    policy_inputs, model_inputs = _middle(contract.observation), _middle(contract.model_observation)
    _check_graph(
        "policy.onnx", bundle.policy, contract, {"observation": policy_inputs}, (), {"action": len(contract.action)}
    )
    _check_graph(
        "dynamics.onnx", bundle.dynamics, contract,
        {"observation": model_inputs, "action": _middle(contract.model_action)}, (members,),
        {"next_observation": len(contract.model_observation), "log_variance": contract.num_model_outputs},
    )  # fmt: skip
    if bundle.value is not None:
        _check_graph("value.onnx", bundle.value, contract, {"observation": model_inputs}, (), {"value": 1})


def _check_graph(
    name: str,
    model: onnx.ModelProto,
    contract: Contract,
    inputs: Mapping[str, Array],
    lead: tuple[int, ...],
    outputs: Mapping[str, int],
) -> None:
    """Check one graph: runs on batches of ``inputs``, and gives ``outputs`` of so many columns, all finite.

    ``lead`` are the axes before the batch. A graph that was exported for a batch of one runs on a robot, and fails
    where several states are asked for; one for a batch of two fails on the robot.
    """
    if opset_of(model) != contract.opset or contract.opset != OPSET:
        raise BundleError(f"{name}: opset {opset_of(model)}, contract {contract.opset}, expected {OPSET}")
    for kind, found, expected in (
        ("inputs", {value.name for value in model.graph.input}, set(inputs)),
        ("outputs", {value.name for value in model.graph.output}, set(outputs)),
    ):
        if found != expected:
            raise BundleError(f"{name}: {kind} {sorted(found)}, expected {sorted(expected)}")
    if model.graph.sparse_initializer:
        raise BundleError(
            f"{name}: weights '{model.graph.sparse_initializer[0].values.name}' are sparse, must be dense"
        )
    for initializer in model.graph.initializer:
        if initializer.data_location == onnx.TensorProto.EXTERNAL:
            raise BundleError(f"{name}: weights '{initializer.name}' are in another file, must be in the graph's own")
        try:
            array = numpy_helper.to_array(initializer)
        except (ValueError, KeyError, TypeError):  # what ONNX's checker lets pass
            raise BundleError(
                f"{name}: weights '{initializer.name}' are damaged: their numbers do not fit the shape "
                f"{list(initializer.dims)} and the element type {initializer.data_type}"
            ) from None
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BundleError(f"{name}: weights '{initializer.name}' hold values that are not finite")
    try:
        session = make_session(model)
    except Exception as error:  # ONNX Runtime's own exception types are not public
        raise BundleError(f"{name}: cannot be run ({first_line(error)})") from None
    for batch in _BATCHES:
        _try_graph(name, session, inputs, {key: (*lead, batch, columns) for key, columns in outputs.items()})


def _try_graph(
    name: str,
    session: onnxruntime.InferenceSession,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, tuple[int, ...]],
) -> None:
    """Run a graph on a batch of the same state, and check what comes out."""
    lead = next(iter(outputs.values()))[:-1]
    feeds = {key: np.tile(values, (*lead, 1)).astype(np.float32) for key, values in inputs.items()}
    try:
        results = session.run(list(outputs), feeds)
    except Exception as error:  # as above
        raise BundleError(
            f"{name}: does not run with the contract's dimensions and a batch of {lead[-1]} ({first_line(error)})"
        ) from None
    for (key, shape), result in zip(outputs.items(), results, strict=True):
        if result.shape != shape:
            raise BundleError(f"{name}: output '{key}' has shape {result.shape}, expected {shape}")
        # A rollout graph is made of all of them, and ONNX converts nothing by itself.
        if result.dtype != np.float32:
            raise BundleError(f"{name}: output '{key}' has the type {result.dtype}, expected float32")
        if not np.isfinite(result).all():
            raise BundleError(f"{name}: output '{key}' is not finite in the middle of the ranges")


def _middle(quantities: tuple[Quantity, ...]) -> Array:
    """The middle of each quantity's range. Shape=(len(quantities),)."""
    return np.array([(quantity.minimum + quantity.maximum) / 2.0 for quantity in quantities])
