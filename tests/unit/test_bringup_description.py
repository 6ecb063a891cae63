"""The description of a bring-up: what is refused, and how parameter files go over it."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from demo_control.bringup.description import (
    RECORDER,
    BringUp,
    BringUpArguments,
    NodeDescription,
    bringup_names,
    load_recipe,
    recorder_of,
    with_parameters_file,
)
from demo_control.bundle import default_bundle
from demo_control.configuration import ConfigurationError


def node(name: str, **changes: object) -> NodeDescription:
    values: dict[str, object] = {"package": "p", "executable": name, "module": f"p.{name}", "name": name, **changes}
    return NodeDescription(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ((node("driver", ends_run=True), node("driver")), "a node name twice"),
        ((node("driver"),), "no node ends the run"),
    ],
)
def test_impossible_bringups_are_refused(nodes: tuple[NodeDescription, ...], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        BringUp("walk", "task", BringUpArguments(), nodes)


@pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")
def test_a_run_that_is_recorded_has_a_recorder_which_is_not_needed(tmp_path: Path) -> None:
    recipe = load_recipe("cartpole_swingup")
    assert RECORDER not in [node.name for node in recipe.make(recipe.arguments()).nodes]
    recorder = recipe.make(recipe.arguments(record=str(tmp_path / "bag"), seed=4)).nodes[-1]

    assert (recorder.name, recorder.controls, recorder.lifecycle, recorder.ends_run) == (RECORDER, False, False, False)
    assert recorder.parameters["directory"] == str(tmp_path / "bag")
    assert json.loads(str(recorder.parameters["arguments"]))["seed"] == 4


def test_a_folder_that_holds_something_is_not_recorded_to(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with pytest.raises(ConfigurationError, match="exists and is not an empty folder"):
        recorder_of("walk", BringUpArguments(record=str(tmp_path)))
    with pytest.raises(NotADirectoryError):
        recorder_of("walk", BringUpArguments(record=str(tmp_path / "kept" / "bag")))


def test_the_wiring_of_another_tasks_robot_is_refused_before_anything_is_started() -> None:
    recipe = load_recipe("stoch2_walk")
    other = str(files("stoch2_sim").joinpath("wiring", "cartpole.yaml"))
    with pytest.raises(ConfigurationError, match="task = 'cartpole': must be 'stoch2' for this driver"):
        recipe.make(recipe.arguments(hardware=other))


@pytest.mark.parametrize(
    ("composed", "names"),
    [
        ("none", ["driver", "layer", "policy", "ears"]),
        ("policy,layer", ["layer+policy", "driver", "ears"]),
        ("all", ["driver+layer+policy", "ears"]),
    ],
)
def test_nodes_share_a_process_as_asked_but_never_with_those_that_only_listen(composed: str, names: list[str]) -> None:
    nodes = (
        node("driver", ends_run=True),
        node("layer", lifecycle=True),
        node("policy", lifecycle=True),
        node("ears", controls=False),
    )
    bringup = BringUp("walk", "task", BringUpArguments(composed=composed), nodes)

    assert [process.name for process in bringup.processes] == names
    assert [process.ends_run for process in bringup.processes].count(True) == 1


def test_a_policy_without_a_layer_has_its_process_for_itself() -> None:
    nodes = (node("driver", ends_run=True), node("policy", lifecycle=True))

    assert BringUp("walk", "task", BringUpArguments(composed="policy,layer"), nodes).processes == nodes


def test_a_driver_shares_its_process_only_in_real_time() -> None:
    arguments = BringUpArguments(composed="all", real_time_factor=2.0)
    with pytest.raises(ConfigurationError, match="composed = 'all': needs real_time_factor = 1, not 2"):
        BringUp("walk", "task", arguments, (node("driver", ends_run=True), node("policy", lifecycle=True)))


def test_bad_nodes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="node name 'a node'"):
        node("a node")
    with pytest.raises(ConfigurationError, match=r"parameter 'gains' = \[1\]: expected a name and a scalar"):
        node("driver", parameters={"gains": [1]})


def test_an_unknown_bringup_names_the_known_ones() -> None:
    assert "cartpole_swingup" in bringup_names()
    with pytest.raises(ConfigurationError, match=r"'walk' is not installed; installed: .*cartpole_swingup"):
        load_recipe("walk")


def test_a_parameter_file_goes_over_the_nodes_own_parameters(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text("driver: {ros__parameters: {seed: 3, wire_loss: 0.1}}\n/policy: {ros__parameters: {}}\n")
    nodes = (node("driver", parameters={"seed": 1, "simulator": "mujoco"}), node("policy", lifecycle=True))
    driver, policy = with_parameters_file(nodes, str(file))

    assert driver.parameters == {"seed": 3, "simulator": "mujoco", "wire_loss": 0.1}
    assert policy == nodes[1]
    assert with_parameters_file(nodes, "") == nodes


BAD_FILES = {
    "unknown node": ("drivr: {ros__parameters: {a: 1}}", "unknown node 'drivr'; known: driver"),
    "no parameters": ("driver: {seed: 1}", "node 'driver': expected 'ros__parameters'"),
    "no mapping": ("- 1", "expected node names"),
    "empty": ("", "expected node names"),
    "not YAML": ("driver: [1", "not a YAML file"),
    "list": ("driver: {ros__parameters: {a: [1]}}", "parameter 'a' = "),
}


@pytest.mark.parametrize(("content", "text"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_parameter_files_are_one_clear_error(tmp_path: Path, content: str, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as error:
        with_parameters_file((node("driver"),), str(file))
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_parameter_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read"):
        with_parameters_file((node("driver"),), str(tmp_path / "nowhere.yaml"))


@pytest.mark.skipif(not default_bundle("stoch2").is_dir(), reason="no bundle of stoch2 is shipped")
def test_whoever_ends_a_real_robots_driver_is_as_patient_as_the_driver(tmp_path: Path) -> None:
    recipe = load_recipe("stoch2_walk")
    (simulated, *_) = recipe.make(recipe.arguments()).nodes
    assert simulated.rest_s == 0.0
    shipped = Path(str(files("stoch2_sim").joinpath("wiring", "stoch2.yaml")))
    (usual, *others) = recipe.make(recipe.arguments(hardware=str(shipped))).nodes
    # It walks, stops, sits down, and there is an emergency stop at the end; twice that on a busy machine.
    assert usual.rest_s == pytest.approx(1.0 + 2.0 * (2.9 + 1.0))
    assert [other.rest_s for other in others] == [0.0] * len(others)
    content = yaml.safe_load(shipped.read_text())
    content["safety"]["stop_s"] = 20.0
    wiring = tmp_path / "wiring.yaml"
    wiring.write_text(yaml.safe_dump(content))
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("stoch2_driver: {ros__parameters: {stand_up_s: 10.0, brake_s: 10.0, stop_s: 5.0}}")
    slow = recipe.make(recipe.arguments(hardware=str(wiring), parameters=str(parameters))).nodes[0]
    assert slow.rest_s == pytest.approx(1.0 + 2.0 * (25.0 + 20.0))
