"""democtl demo, as far as it needs no ROS: what it asks of a robot, and a walk that cannot be filmed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from demo_control.bringup.description import BringUpArguments, Recipe
from demo_control.cli import demo
from demo_control.cli.main import app
from demo_control.configuration import ConfigurationError, setting
from demo_control.tasks import Task
from stoch2_sim.pictures.process import PictureError


@dataclass(frozen=True)
class WithSimulator(BringUpArguments):
    """A bring-up that has a choice."""

    simulator: str = setting("exact", "Simulator.")


def test_a_walk_that_cannot_be_filmed_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise PictureError("no way to draw works here; egl: no device")

    monkeypatch.setattr("stoch2_sim.robots.stoch2.walk_drawing.write_walk_video", refuse)
    file = tmp_path / "result.json"
    words = ["demo", "stoch2", "--duration", "1", "--live", "0", "--out", str(tmp_path), "--json", str(file)]
    done = CliRunner().invoke(app, words)

    assert done.exit_code == 0, done.output
    assert "no video: no way to draw works here; egl: no device" in done.stderr
    assert "plans in use" in done.stderr
    report = json.loads(file.read_text())
    assert report["files"] == {"plot": str(tmp_path / "walk.png")}
    assert (tmp_path / "walk.png").is_file()
    assert report["demo"]["commands"] == 200


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(BringUpArguments, {"seed": 1}), (WithSimulator, {"seed": 1, "simulator": "exact"})],
)
def test_a_bring_up_is_told_the_simulator_where_it_has_a_choice(
    linear_task: Task, monkeypatch: pytest.MonkeyPatch, arguments: type[Any], expected: dict[str, object]
) -> None:
    """The bring-up of docs/new_robot.md has none."""
    task = replace(linear_task, bringup="mine", simulators=("exact", "rough"))
    monkeypatch.setattr(demo, "load_recipe", lambda _: Recipe("Mine.", arguments, lambda _: pytest.fail("not made")))
    given = demo._common_arguments(task, "exact", {"seed": 1})

    assert given == expected
    assert arguments.from_mapping(given).seed == 1
    if arguments is BringUpArguments:
        with pytest.raises(ConfigurationError, match="simulator = 'rough': bring-up 'mine' has no choice"):
            demo._common_arguments(task, "rough", {})
    assert demo._common_arguments(replace(task, bringup=""), "rough", {"seed": 1}) == {"seed": 1}
