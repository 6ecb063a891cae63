"""docs/method.md names code that exists, and its table of presets is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import demo_control
from demo_control.layer import LayerSettings
from demo_control.mpc import PRESETS, preset
from demo_control.mpc.presets import settings_of
from demo_control.mpc.utilities import UTILITIES
from demo_control.tasks import load_task

PACKAGE = Path(demo_control.__file__).parent
ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
TABLED = [name for name in PRESETS if name != "demo_layer_thesis"]


def source(name: str) -> str:
    """The text of a file named in the document, relative to one of the places it may mean."""
    for folder in (PACKAGE, PACKAGE / "mpc", ROOT, ROOT / "tests" / "unit"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise AssertionError(f"docs/method.md names {name}, which does not exist")


def test_every_file_and_name_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)(?:: ([\w., ]+))?`", TEXT)
    assert len(named) > 25
    for file, names in named:
        text = source(file)
        for name in re.findall(r"\w+", names):
            assert re.search(rf"(def|class) {name}\b", text), f"{file} has no {name}"


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", TEXT):
        assert (ROOT / "docs" / target).exists(), target


@pytest.mark.parametrize("name", TABLED)
def test_the_table_of_presets_is_that_of_the_code(name: str) -> None:
    (line,) = re.findall(rf"^\| `{name}` .*$", TEXT, re.MULTILINE)
    _, _, _, shift, terminal, step_size, mirror_steps, used_for, _ = (cell.strip() for cell in line.split("|"))
    settings = settings_of(name)
    assert shift == f"`{settings.shift}`"
    assert terminal == PRESETS[name].terminal_cost
    assert step_size == f"{settings.step_size:g}"
    tasks = {LayerSettings.for_task(load_task(task), preset(name)).mirror_steps for task in ("cartpole", "stoch2")}
    assert mirror_steps == (str(settings.mirror_steps) if len(tasks) == 1 else "task")
    assert used_for.startswith(PRESETS[name].used_for)


def test_the_utility_shown_takes_costs_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UTILITIES, "median_or_better", UTILITIES["exponential"])
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(example, {})
    costs = np.array([[1.0, 2.0, np.nan, 4.0], [1.0, np.inf, np.inf, np.inf], [np.nan] * 4])
    weights = UTILITIES["median_or_better"](costs, settings_of("mppi"))
    np.testing.assert_array_equal(weights, [[0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0] * 4])
