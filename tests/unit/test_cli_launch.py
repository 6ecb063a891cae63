"""The command line of democtl launch, as far as it needs no ROS: arguments, help, errors, and what is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demo_control.bringup.description import BringUp, BringUpArguments, NodeDescription
from demo_control.cli import launch
from demo_control.cli.main import app
from demo_control.configuration import ConfigurationError

USAGE_ERRORS = {
    "unknown bring-up": (
        ["walk"],
        "bring-up 'walk' is not installed; installed: cartpole_swingup, replay, stoch2_walk",
    ),
    "number": (["cartpole_swingup", "--seed", "x"], "--seed: 'x': expected int"),
    "range": (["cartpole_swingup", "--duration", "0"], "--duration: 0.0: must be at least 0.1"),
    "choice": (["cartpole_swingup", "--simulator", "gazebo"], "--simulator: 'gazebo': must be one of mujoco, pybullet"),
    "truth": (["cartpole_swingup", "--use-layer", "maybe"], "--use-layer: 'maybe': expected bool"),
    "bundle": (["cartpole_swingup", "--bundle", "nowhere"], "nowhere' does not exist"),
    "terrain": (["stoch2_walk", "--terrain", "moon"], "--terrain: 'moon': must be one of flat, slope, stairs, rough"),
    "slope": (["stoch2_walk", "--terrain", "rough", "--slope", "5"], "slope = 5: must be 0 on terrain 'rough'"),
    "command": (["stoch2_walk", "--command", "fast"], "command = 'fast': expected VX,WZ, for example 0.3,0.2"),
    "parameters": (["cartpole_swingup", "--parameters", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("arguments", "text"), USAGE_ERRORS.values(), ids=USAGE_ERRORS.keys())
def test_usage_errors_are_one_line_and_exit_code_2(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(app, ["launch", *arguments])

    assert result.exit_code == 2
    assert result.stdout == ""
    assert text in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_help_lists_commands_bringups_and_arguments() -> None:
    def help_of(*words: str) -> str:
        return CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).stdout

    assert {"launch", "teleop", "evaluate", "train", "bundle", "demo"} <= set(help_of().split())
    assert "cartpole_swingup" in help_of("launch")
    for option in ("--duration", "--seed", "--use-layer", "--simulator", "--real-time-factor", "--bundle", "--json"):
        assert option in help_of("launch", "cartpole_swingup")
    for option in ("--terrain", "--slope", "--command", "--push", "--simulator", "--use-layer", "--json"):
        assert option in help_of("launch", "stoch2_walk")
    assert CliRunner().invoke(app, ["nonsense"]).exit_code == 2


def test_every_argument_arrives_in_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[BringUp, str, bool]] = []

    def make(arguments: BringUpArguments) -> BringUp:
        driver = NodeDescription("p", "e", "p.e", "driver", ends_run=True)
        return BringUp("cartpole_swingup", "cartpole", arguments, (driver,))

    recipe = launch.Recipe("text", BringUpArguments, make)
    monkeypatch.setattr(launch, "load_recipe", lambda _name: recipe)
    monkeypatch.setattr(launch, "_run", lambda *arguments: made.append(arguments))
    words = [
        "--duration",
        "3",
        "--seed",
        "7",
        "--use-layer",
        "false",
        "--real-time-factor",
        "2.5",
        "--bundle",
        "12",
        "--json",
        "-",
        "--verbose",
    ]
    result = CliRunner().invoke(launch._make_app(), ["cartpole_swingup", *words])

    assert result.exit_code == 0, result.output
    [(bringup, json_file, verbose)] = made
    expected = BringUpArguments(duration=3.0, seed=7, use_layer=False, real_time_factor=2.5, bundle="12")
    assert bringup.arguments == expected
    assert (json_file, verbose) == ("-", True)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("main", ("rclpy", "torch")), ("evaluate", ("rclpy", "torch")), ("launch", ("torch",))],
)
def test_a_command_imports_only_what_it_needs(module: str, unwanted: tuple[str, ...]) -> None:
    text = f"import sys, demo_control.cli.{module}; print([n for n in {unwanted} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_a_missing_package_is_named_and_leaves_the_other_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "demo_control.cli.train", None)
    missing = CliRunner().invoke(app, ["train", "cartpole", "--seed", "1"])

    assert missing.exit_code == 2
    assert "train needs the Python package 'demo_control.cli.train'" in missing.stderr
    assert "Train a policy" in CliRunner().invoke(app, ["--help"]).stdout


def test_bad_values_keep_the_settings_words() -> None:
    with pytest.raises(ConfigurationError, match=r"--seed: -1: must be at least 0"):
        launch._arguments(BringUpArguments, {**dict.fromkeys(BringUpArguments().as_mapping()), "seed": "-1"})
