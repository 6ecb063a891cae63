"""Parameter files: bad ones are told at configure, good ones and shipped ones load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
import yaml
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from ros_support import Peer, StartNode

import demo_control
from demo_control.config import FILES
from demo_control.layer import LayerSettings
from demo_control.mpc.presets import preset
from demo_control.nodes.control_topic_settings import ControlTopicSettings
from demo_control.nodes.demo_layer_node import DemoLayerNode
from demo_control.real_time import RealTimeSettings

pytestmark = pytest.mark.ros

LAYER = "demo_control.nodes.demo_layer_node"
TASK = {"task": "cartpole"}
CONFIG = Path(demo_control.__file__).parent / "config"


BAD = {
    "wrong type": ({**TASK, "step_size": "large"}, "step_size = 'large': expected float, got str"),
    "fraction for a count": ({**TASK, "horizon": 12.5}, "horizon = 12.5: expected int, got float"),
    "out of range": ({**TASK, "step_size": 1.5}, "step_size = 1.5: must be between 0 and 1"),
    "not finite": ({**TASK, "step_size": float("nan")}, "step_size = nan: must be finite"),
    "unknown choice": ({**TASK, "shift": "sideways"}, "shift = 'sideways': must be one of"),
    "unknown name": ({**TASK, "stepsize": 0.5}, "unknown parameter 'stepsize'; known: "),
    "list": ({**TASK, "horizon": [1, 2]}, "horizon = "),
    "negative weight": ({**TASK, "cost_weight_upright": -1.0}, "cost_weight_upright = -1.0: must be at least 0"),
    "no task": ({}, "task '' is not installed; installed: "),
    "unknown task": ({"task": "cartpoel"}, "task 'cartpoel' is not installed; installed: "),
    "no bundle": ({**TASK, "bundle_directory": "nowhere"}, "bundle directory 'nowhere' does not exist"),
}


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[[object], DemoLayerNode]]:
    """Makes the node in this process, with a parameter file."""
    context = Context()
    nodes: list[DemoLayerNode] = []

    def make(parameters: object) -> DemoLayerNode:
        file = tmp_path / "parameters.yaml"
        file.write_text(yaml.safe_dump({"demo_layer_node": {"ros__parameters": parameters}}))
        rclpy.init(context=context, args=["--ros-args", "--params-file", str(file)])
        nodes.append(DemoLayerNode(context=context))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize(("parameters", "text"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_fail_configure_and_say_why(
    make_node: Callable[[object], DemoLayerNode],
    capfd: pytest.CaptureFixture[str],
    parameters: dict[str, object],
    text: str,
) -> None:
    node = make_node(parameters)

    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    said = capfd.readouterr().err.replace("LayerSettings.", "").replace("CostWeights.", "")
    assert f"cannot configure: {text}" in said


def test_all_problems_are_told_at_once(
    make_node: Callable[[object], DemoLayerNode], capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_node({**TASK, "horizon": 0, "step_size": "x", "cost_weight_upright": -1, "stepsize": 1, "seed": -2})

    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert capfd.readouterr().err.count("cannot configure: ") == 5


def test_a_node_with_a_bad_file_stays_alive_and_unconfigured(peer: Peer, start: StartNode) -> None:
    process = start(LAYER, parameters={**TASK, "step_size": 1.5})

    assert not peer.change_state("demo_layer_node", Transition.TRANSITION_CONFIGURE)
    assert peer.state("demo_layer_node") == "unconfigured"
    assert process.exit_code is None


@pytest.mark.parametrize("file", sorted(CONFIG.glob("*.yaml")), ids=lambda file: file.name)
def test_every_shipped_file_is_valid(make_node: Callable[[object], DemoLayerNode], file: Path) -> None:
    sections = yaml.safe_load(file.read_text())
    assert set(sections) - {"policy_node"} == {"demo_layer_node"}
    node = make_node({**TASK, **sections["demo_layer_node"]["ros__parameters"]})

    node.parameters.check()


def test_the_thesis_file_is_the_thesis_preset() -> None:
    shipped = yaml.safe_load((CONFIG / "demo_layer_thesis.yaml").read_text())["demo_layer_node"]["ros__parameters"]
    assert shipped == dict(preset("demo_layer_thesis"))


@pytest.mark.parametrize("name", list(FILES))
def test_generated_files_are_up_to_date(name: str) -> None:
    assert (CONFIG / name).read_text() == FILES[name](), f"write it anew: python -m demo_control.config {name}"


def test_the_generated_files_name_every_setting() -> None:
    layer, real_time = (yaml.safe_load(FILES[name]()) for name in ("demo_layer.yaml", "real_time.yaml"))
    assert layer["demo_layer_node"]["ros__parameters"] == LayerSettings().as_mapping()
    expected = {**RealTimeSettings().as_mapping(), **ControlTopicSettings().as_mapping()}
    assert real_time["policy_node"]["ros__parameters"] == real_time["demo_layer_node"]["ros__parameters"] == expected


@pytest.mark.parametrize("text", ["a: [1, 'x'", "policy_node:\n  ros__parameters:\n    task: [1, two]\n", "- 1\n"])
def test_unreadable_file_is_one_line_and_exit_code_2(start: StartNode, tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    process = start(LAYER, file=file)

    assert process.wait(30.0)
    assert process.exit_code == 2
    assert "Traceback" not in "\n".join(process.last_lines())
    assert "bad.yaml" in process.last_lines()[-1]


def test_parameters_change_in_flight_or_say_why_not(peer: Peer, start: StartNode, bundle_directory: Path) -> None:
    start(LAYER, parameters={**TASK, "bundle_directory": str(bundle_directory), "horizon": 5, "num_samples": 16})
    peer.bring_up("demo_layer_node")

    def value(name: str) -> float:
        request = GetParameters.Request(names=[name])
        found = peer.call(GetParameters, "/demo_layer_node/get_parameters", request).values[0]
        return found.integer_value if found.type == 2 else found.double_value

    def change(name: str, new: float | int | str) -> tuple[bool, str]:
        kinds = {float: (3, "double_value"), int: (2, "integer_value"), str: (4, "string_value")}
        kind, field = kinds[type(new)]
        parameter = Parameter(name=name, value=ParameterValue(type=kind, **{field: new}))
        request = SetParameters.Request(parameters=[parameter])
        result = peer.call(SetParameters, "/demo_layer_node/set_parameters", request).results[0]
        return result.successful, result.reason

    assert change("step_size", 0.25) == (True, "")
    assert change("cost_weight_upright", 0.75) == (True, "")
    assert change("step_size", 1) == (True, "")  # a whole number where a float is declared
    assert (value("step_size"), value("cost_weight_upright")) == (1.0, 0.75)
    for name, bad in (("step_size", 2.0), ("step_size", "x"), ("horizon", 9), ("seed", 3), ("utility", "best")):
        successful, reason = change(name, bad)
        assert not successful
        assert reason
    assert (value("step_size"), value("horizon")) == (1.0, 5)


def test_descriptors_tell_text_range_and_whether_it_can_change(peer: Peer, start: StartNode) -> None:
    start(LAYER, parameters=TASK)
    request = DescribeParameters.Request(names=["step_size", "horizon", "utility"])
    answer = peer.call(DescribeParameters, "/demo_layer_node/describe_parameters", request)
    step_size, horizon, utility = answer.descriptors

    assert "α" in step_size.description
    assert not step_size.read_only
    assert (step_size.floating_point_range[0].from_value, step_size.floating_point_range[0].to_value) == (0.0, 1.0)
    assert horizon.read_only
    assert horizon.integer_range[0].from_value == 1
    assert "elite_fraction" in utility.additional_constraints


@pytest.mark.parametrize(
    "program",
    [
        ["demo_control.nodes.policy_node"],
        ["stoch2_sim.drivers.stoch2_driver"],
        ["demo_control.nodes.composed", "demo_control.nodes.policy_node"],
        ["demo_control.nodes.composed", "stoch2_sim.drivers.stoch2_driver"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("text", [None, "policy_node: [ros__parameters", "- a list"], ids=["absent", "cut off", "list"])
def test_a_parameter_file_that_cannot_be_read_ends_every_node_with_one_line(
    tmp_path: Path, program: list[str], text: str | None
) -> None:
    file = tmp_path / "parameters.yaml"
    if text is not None:
        file.write_text(text)
    command = [sys.executable, "-m", *program, "--ros-args", "--params-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(told) == 1, done.stderr
    assert str(file) in told[0]
    assert "Traceback" not in done.stderr
