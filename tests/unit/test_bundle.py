"""Bundles: what is saved is loaded; every way to be wrong is refused with its reason."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from demo_control.bundle import Bundle, BundleError, default_bundle, load_bundle, make_bundle
from demo_control.onnx_graph import GraphBuilder
from demo_control.policies import OnnxPolicy
from demo_control.tasks import Task

from .conftest import linear_dynamics_model, linear_policy


def test_what_is_saved_is_loaded(linear_task: Task, linear_bundle: Bundle, saved: Path) -> None:
    loaded = load_bundle(saved, linear_task)
    assert loaded.contract == linear_bundle.contract
    assert loaded.sha256 == linear_bundle.sha256
    assert sorted(path.name for path in saved.iterdir()) == [
        "README.md", "contract.json", "dynamics.onnx", "policy.onnx",
    ]  # fmt: skip
    state = np.array([[0.3, -0.2]])
    np.testing.assert_array_equal(OnnxPolicy(loaded.policy).act(state), OnnxPolicy(linear_bundle.policy).act(state))


def test_default_bundle_can_be_redirected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEMO_MODELS", str(tmp_path))
    assert default_bundle("cartpole") == tmp_path / "cartpole"


# --- Bundles that must not be used: how each is spoilt, and what the message says -------------------------


def _contract(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(directory: Path) -> None:
        path = directory / "contract.json"
        contract = json.loads(path.read_text())
        change(contract)
        path.write_text(json.dumps(contract))

    return spoil


def _remove(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def _content(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda directory: (directory / name).write_bytes(content) and None


def _graph(name: str, change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], None]:
    """Change a graph and give the contract its new hash, so that the graph itself is what is found wrong."""

    def spoil(directory: Path) -> None:
        model = onnx.load(directory / name)
        change(model)
        _replace(directory, name, model.SerializeToString())

    return spoil


def _replace(directory: Path, name: str, content: bytes) -> None:
    (directory / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    _contract(lambda contract: contract["files"].__setitem__(name, digest))(directory)


def _truncate(name: str, share: float, *, rehash: bool) -> Callable[[Path], None]:
    def spoil(directory: Path) -> None:
        content = (directory / name).read_bytes()
        content = content[: int(len(content) * share)]
        if rehash:
            _replace(directory, name, content)
        else:
            (directory / name).write_bytes(content)

    return spoil


def _not_finite(model: onnx.ModelProto) -> None:
    initializer = next(i for i in model.graph.initializer if numpy_helper.to_array(i).dtype == np.float32)
    array = numpy_helper.to_array(initializer).copy()
    array.flat[0] = np.nan
    initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))


def _wider_policy(directory: Path) -> None:
    graph = GraphBuilder("policy")
    observation = graph.input("observation", ("batch", 3))
    graph.output("action", graph.node("MatMul", observation, graph.constant(np.ones((3, 1)))), ("batch", 1))
    _replace(directory, "policy.onnx", graph.build().SerializeToString())


def _for_states(count: int) -> Callable[[Path], None]:
    """As PyTorch exports a network that it was told nothing else about."""

    def spoil(directory: Path) -> None:
        graph = GraphBuilder("policy")
        observation = graph.input("observation", (count, 2))
        graph.output("action", graph.node("MatMul", observation, graph.constant(np.ones((2, 1)))), (count, 1))
        _replace(directory, "policy.onnx", graph.build().SerializeToString())

    return spoil


def _with_one_bias(directory: Path) -> None:
    graph = GraphBuilder("policy")
    joined = graph.node("Concat", graph.input("observation", ("batch", 2)), graph.constant([[1.0]]), axis=1)
    graph.output("action", graph.node("MatMul", joined, graph.constant(np.ones((3, 1)))), ("batch", 1))
    _replace(directory, "policy.onnx", graph.build().SerializeToString())


def _in_another_file(model: onnx.ModelProto) -> None:
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.data")


def _sparse(model: onnx.ModelProto) -> None:
    weights = model.graph.initializer.pop(0)
    entry = numpy_helper.from_array(np.ones(1, np.float32), weights.name)
    place = numpy_helper.from_array(np.zeros((1, 2), np.int64), "place")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(entry, place, list(weights.dims)))


def _too_many_numbers(model: onnx.ModelProto) -> None:
    """ONNX's checker refuses too few."""
    model.graph.initializer[0].raw_data += bytes(4)


def _of_unknown_type(model: onnx.ModelProto) -> None:
    """One damaged byte: ONNX's checker does not look at it."""
    model.graph.initializer[0].data_type = 125


def _in_double_precision(directory: Path) -> None:
    """Runs by itself, and cannot be joined with the rest to a rollout."""
    graph = GraphBuilder("policy")
    action = graph.node("MatMul", graph.input("observation", ("batch", 2)), graph.constant(np.ones((2, 1))))
    graph.output("action", graph.node("Cast", action, to=onnx.TensorProto.DOUBLE), ("batch", 1))
    model = graph.build()
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    _replace(directory, "policy.onnx", model.SerializeToString())


def _two_actions(directory: Path) -> None:
    graph = GraphBuilder("policy")
    observation = graph.input("observation", ("batch", 2))
    graph.output("action", graph.node("MatMul", observation, graph.constant(np.ones((2, 2)))), ("batch", 2))
    _replace(directory, "policy.onnx", graph.build().SerializeToString())


def _rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "x"
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "observation":
                node.input[i] = "x"


WRONG = {
    "no contract": (_remove("contract.json"), r"contract.json: missing"),
    "no policy": (_remove("policy.onnx"), r"policy.onnx: missing"),
    "no dynamics": (_remove("dynamics.onnx"), r"dynamics.onnx: missing"),
    "contract is no JSON": (_content("contract.json", b"{"), r"contract.json: not valid JSON"),
    "contract is empty": (_content("contract.json", b""), r"contract.json: not valid JSON"),
    "contract is a list": (_content("contract.json", b"[]"), r"contract.json: expected an object, got list"),
    "contract is binary": (_content("contract.json", b"\xff\xfe\x00"), r"contract.json: not UTF-8"),
    "contract is nested deeply": (_content("contract.json", b"[" * 100_000), r"contract.json: not valid JSON"),
    "another format": (_contract(lambda c: c.update(format=99)), r"format = 99, expected 1"),
    "unknown field": (_contract(lambda c: c.update(extra=1)), r"unknown field 'extra'"),
    "field missing": (_contract(lambda c: c.pop("members")), r"field 'members' is missing, expected int"),
    "wrong type": (_contract(lambda c: c.update(members="3")), r"members = '3', expected int"),
    "no members": (_contract(lambda c: c.update(members=0)), r"members = 0, expected at least 1"),
    "other members": (_contract(lambda c: c.update(members=2)), r"dynamics.onnx: 3 members, contract.json says 2"),
    "period": (_contract(lambda c: c.update(control_period_s=-0.1)), r"control_period_s = -0.1, expected seconds"),
    "other period": (_contract(lambda c: c.update(control_period_s=0.2)), r"control_period_s = 0.2, task .* expects"),
    "other task": (_contract(lambda c: c.update(task="walker")), r"task = 'walker', task 'integrator' expects"),
    "other name": (
        _contract(lambda c: c["observation"][1].update(name="speed")),
        r"observation\[1\].name = 'speed', task 'integrator' expects 'velocity'",
    ),
    "other unit": (_contract(lambda c: c["action"][0].update(unit="g")), r"action\[0\].unit = 'g'"),
    "other limit": (_contract(lambda c: c["action"][0].update(maximum=60.0)), r"action\[0\].maximum = 60.0"),
    "empty range": (_contract(lambda c: c["action"][0].update(maximum=-50.0)), r"action\[0\]: .* must be finite"),
    "range is text": (
        _contract(lambda c: c["action"][0].update(maximum="wide")), r"action\[0\].maximum = 'wide', expected float"
    ),
    "fewer observations": (_contract(lambda c: c["observation"].pop()), r"length of observation = 1"),
    "no observations": (_contract(lambda c: c.update(observation=[])), r"observation is empty"),
    "name twice": (
        _contract(lambda c: c["observation"][1].update(name="position")), r"observation has a name twice",
    ),
    "quantity without unit": (_contract(lambda c: c["action"][0].pop("unit")), r"action\[0\] = .* expected name, unit"),
    "policy not named": (_contract(lambda c: c["files"].pop("policy.onnx")), r"files does not name 'policy.onnx'"),
    "path out of the folder": (
        _contract(lambda c: c["files"].update({"../secret": "0" * 64})), r"files names '../secret'",
    ),
    "hash is no hash": (_contract(lambda c: c["files"].update({"policy.onnx": "abc"})), r"expected a SHA-256"),
    "hash of another file": (
        _contract(lambda c: c["files"].update({"policy.onnx": "0" * 64})), r"policy.onnx: SHA-256 is .*expects 0000",
    ),
    "truncated policy": (_truncate("policy.onnx", 0.5, rehash=False), r"policy.onnx: SHA-256"),
    "truncated graph, hash right": (_truncate("dynamics.onnx", 0.5, rehash=True), r"dynamics.onnx: not a valid ONNX"),
    "graph cut late, hash right": (_truncate("dynamics.onnx", 0.98, rehash=True), r"dynamics.onnx: "),
    "empty graph, hash right": (_truncate("policy.onnx", 0.0, rehash=True), r"policy.onnx: not a valid ONNX"),
    "weights not finite": (_graph("dynamics.onnx", _not_finite), r"dynamics.onnx: weights .* not finite"),
    "policy weights not finite": (_graph("policy.onnx", _not_finite), r"policy.onnx: weights .* not finite"),
    "other opset": (
        _graph("policy.onnx", lambda m: setattr(m.opset_import[0], "version", 13)), r"policy.onnx: opset 13",
    ),
    "other input name": (
        _graph("policy.onnx", _rename_input), r"policy.onnx: inputs \['x'\], expected \['observation'\]",
    ),
    "policy for more observations": (_wider_policy, r"policy.onnx: does not run with the contract's dimensions"),
    "policy with more actions": (_two_actions, r"policy.onnx: output 'action' has shape \(2, 2\), expected \(2, 1\)"),
    "policy in double precision": (
        _in_double_precision, r"policy.onnx: output 'action' has the type float64, expected float32",
    ),
    "policy for one state": (_for_states(1), r"policy.onnx: does not run with .* and a batch of 2"),
    "policy for two states": (_for_states(2), r"policy.onnx: does not run with .* and a batch of 1"),
    "policy with one bias": (_with_one_bias, r"policy.onnx: does not run with .* and a batch of 2"),
    "weights in another file": (_graph("policy.onnx", _in_another_file), r"policy.onnx: not a valid .* weights.data"),
    "too many numbers": (
        _graph("policy.onnx", _too_many_numbers), r"policy.onnx: weights 'const_0' are damaged: .* the shape \[2, 1\]",
    ),
    "unknown type": (_graph("policy.onnx", _of_unknown_type), r"policy.onnx: weights 'const_0' are damaged: .* 125"),
    "sparse weights": (_graph("policy.onnx", _sparse), r"policy.onnx: weights 'const_0' are sparse, must be dense"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_refused(linear_task: Task, saved: Path, case: str) -> None:
    spoil, message = WRONG[case]
    spoil(saved)
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(saved, linear_task)
    assert "\n" not in str(caught.value)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"'.*nowhere' does not exist"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(saved: Path) -> None:
    (saved / "policy.onnx").chmod(0)
    with pytest.raises(BundleError, match=r"policy.onnx: cannot be read"):
        load_bundle(saved)


def test_truncated_anywhere_is_refused(linear_task: Task, saved: Path) -> None:
    """A graph cut at any place, with a matching hash, is refused and never a traceback of another kind."""
    content = (saved / "dynamics.onnx").read_bytes()
    for length in range(0, len(content), max(1, len(content) // 100)):
        _replace(saved, "dynamics.onnx", content[:length])
        with pytest.raises(BundleError):
            load_bundle(saved, linear_task)


def test_make_bundle_refuses_weights_in_another_file(linear_task: Task) -> None:
    policy = linear_policy(linear_task)
    _in_another_file(policy)
    with pytest.raises(
        BundleError, match=r"policy.onnx: weights 'const_0' are in another file, must be in the graph's"
    ):
        make_bundle(linear_task, policy=policy, dynamics=linear_dynamics_model())


def test_make_bundle_refuses_graphs_that_do_not_fit(linear_task: Task) -> None:
    with pytest.raises(BundleError, match=r"policy.onnx: inputs"):
        make_bundle(linear_task, policy=linear_dynamics_model(), dynamics=linear_dynamics_model())
    with pytest.raises(BundleError, match=r"must have the shape \(members, batch, n\)"):
        make_bundle(linear_task, policy=linear_policy(linear_task), dynamics=linear_policy(linear_task))
