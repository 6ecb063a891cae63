"""Plug-ins that are broken: each is one line that names it, and takes nothing else down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demo_control.bringup.description import load_recipe
from demo_control.cli import launch
from demo_control.cli.main import app
from demo_control.configuration import ConfigurationError
from demo_control.hardware.emulation.plant import make_plant
from demo_control.hardware.wiring import InstalledKinds
from demo_control.tasks import Task, load_task, task_names

BROKEN = {
    "misspelt": ("no_such_package.robot:make", "ModuleNotFoundError: No module named 'no_such_package'"),
    "lacking": ("broken_robot:nothing", "AttributeError: module 'broken_robot' has no attribute 'nothing'"),
    "raising": ("broken_robot.wheels:make", "RuntimeError: the licence is over"),
    "speechless": ("broken_robot.mute:make", "NotImplementedError"),
    "senseless": ("not a value", "AttributeError"),
}

GROUPS: dict[str, Callable[[str], object]] = {
    "tasks": load_task,
    "bringups": load_recipe,
    "buses": lambda name: InstalledKinds()[name],
    "emulated_plants": lambda name: make_plant(name, 0, {}),
}
"""Who loads the plug-ins of a group."""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose plug-ins are all broken, each in its own way."""
    package, metadata = tmp_path / "broken_robot", tmp_path / "broken_robot-1.0.dist-info"
    for folder in (package, metadata):
        folder.mkdir()
    (package / "__init__.py").write_text(
        "from stoch2_sim.cartpole import task as misnamed\ndef other(): return 'no task'\n"
    )
    (package / "wheels.py").write_text("raise RuntimeError('the licence is over\\nrenew it')\n")
    (package / "mute.py").write_text("raise NotImplementedError\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-robot\nVersion: 1.0\n")
    points = [f"{name} = {value}" for name, (value, _) in BROKEN.items()] + ["another = broken_robot:other"]
    groups = [f"[demo_control.{group}]\n" + "\n".join(points) for group in GROUPS]
    groups[0] += "\nmisnamed = broken_robot:misnamed"
    (metadata / "entry_points.txt").write_text("\n".join(groups) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_named_with_its_value_and_error(name: str) -> None:
    value, reason = BROKEN[name]
    for group, load in GROUPS.items():
        with pytest.raises(ConfigurationError) as caught:
            load(name)
        text = f"plug-in '{name}' = '{value}' of demo_control.{group} cannot be loaded: {reason}"
        assert str(caught.value).startswith(text)
        assert "\n" not in str(caught.value)
        assert not str(caught.value).rstrip().endswith(":"), "something is announced and not said"


def test_one_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected a Task, not a str"):
        load_task("another")
    with pytest.raises(ConfigurationError, match="expected a Recipe, not a function"):
        load_recipe("another")
    with pytest.raises(ConfigurationError, match="expected a BusKind, not a function"):
        InstalledKinds()["another"]


def test_a_task_is_called_as_its_entry_point_is() -> None:
    """Else its bundles and recordings could not be used once they are made: they hold the name of the task."""
    with pytest.raises(ConfigurationError, match=r"task 'misnamed' .*calls itself 'cartpole'"):
        load_task("misnamed")


def test_the_others_are_launched_and_listed_with_a_warning_about_the_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    group = launch._make_app()
    listing = CliRunner().invoke(group, ["--help"])

    assert listing.exit_code == 0, listing.output
    assert "cartpole_swingup" in listing.stdout
    warnings = listing.stderr.strip().splitlines()
    assert [line.partition("'")[2].partition("'")[0] for line in warnings] == sorted([*BROKEN, "another"])

    monkeypatch.setattr(launch, "_run", lambda *_: None)
    other = CliRunner().invoke(group, ["cartpole_swingup"])
    assert other.exit_code == 0, other.output
    assert other.stderr == ""

    broken = CliRunner().invoke(group, ["raising"])
    assert broken.exit_code == 2
    assert broken.stderr.startswith("democtl: plug-in 'raising' = 'broken_robot.wheels:make' of demo_control.bringups")
    assert len(broken.stderr.strip().splitlines()) == 1


def test_all_commands_are_listed_and_other_tasks_load() -> None:
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    assert {"cartpole", *BROKEN} <= set(task_names())
    assert load_task("cartpole").name == "cartpole"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observation": ("position", "position")}, "observation has 'position' twice, must be unique"),
        ({"action": ("acceleration", "acceleration")}, "action has 'acceleration' twice"),
        ({"cost_terms": ("effort", "velocity", "effort")}, "cost_terms has 'effort' twice"),
        ({"model_inputs": ("speed",)}, "model_inputs names 'speed', must be of the observation: position, velocity"),
        ({"offset_entries": ("speed",)}, "offset_entries names 'speed', must be of the observation"),
        ({"unit_circles": (("position", "speed"),)}, "unit_circles names 'speed', must be of the observation"),
    ],
)
def test_a_task_whose_names_mean_nothing_or_two_things(
    linear_task: Task, changes: dict[str, tuple[str, ...]], words: str
) -> None:
    """Weights, columns and parameters are found by name: of two alike one would be lost."""
    (what, names), *_ = changes.items()
    entries = getattr(linear_task, what)
    wrong = (
        names
        if what in {"model_inputs", "offset_entries", "unit_circles"}
        else [replace(entries[0], name=name) for name in names]
    )
    with pytest.raises(ConfigurationError, match=f"task 'integrator': {words}"):
        replace(linear_task, **{what: tuple(wrong)})


@pytest.mark.parametrize("changes", [{"control_period_s": 0.0}, {"control_period_s": -1.0}, {"episode_s": 0.001}])
def test_a_task_without_a_period_in_its_episode(linear_task: Task, changes: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=r"control_period_s = .*, must be more than 0 and at most episode_s"):
        replace(linear_task, **changes)


def test_circles_that_plans_do_not_know_are_not_those_of_the_planning_problem() -> None:
    """Its model looked for their entries in vain, and training ended with a traceback."""
    task = load_task("stoch2")
    assert task.planning is not None
    known = task.planning.observation
    away = replace(task, unit_circles=(*task.unit_circles, ("roll_2_ticks_ago", "roll_1_tick_ago")))
    assert not set(away.unit_circles[-1]) & set(known)
    assert away.planning_problem.unit_circles == task.unit_circles == task.planning_problem.unit_circles
