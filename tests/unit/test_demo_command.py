"""democtl demo, as far as it needs no ROS: what it asks of a robot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from demo_control.bringup.description import BringUpArguments, Recipe
from demo_control.cli import demo
from demo_control.configuration import ConfigurationError, setting
from demo_control.tasks import Task


@dataclass(frozen=True)
class WithSimulator(BringUpArguments):
    """A bring-up that has a choice."""

    simulator: str = setting("exact", "Simulator.")


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
