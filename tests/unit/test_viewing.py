"""Recordings in the viewer: what it is given, and what is said where it is not installed."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from demo_control.bags.reader import Bag
from demo_control.bundle import default_bundle
from demo_control.cli.main import app
from demo_control.report.bag_reading import read_contents
from demo_control.tasks import load_task
from demo_control.viewing.planned_paths import planned_paths

from .recorded_bag import write_observations

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")


def test_each_plan_is_followed_on_the_model_from_where_the_robot_was(whole_bag: Path) -> None:
    task = load_task("cartpole")
    contents = read_contents(Bag.open(whole_bag))

    paths = planned_paths(Bag.open(whole_bag), task)

    assert sorted(paths) == contents.plans.figures["plans"].tolist()
    assert task.planned_path is not None
    horizon = int(contents.settings["horizon"])
    starts = np.searchsorted(contents.observations.times_s, contents.plans.starts_s - 1e-6)
    for number, start in zip(contents.plans.figures["plans"], starts, strict=True):
        path = paths[int(number)]
        # The state, the command on its way, and the plan's own steps.
        assert path.shape == (horizon + 2, 3)
        seen = task.planned_path(contents.observations.values[None, [int(start)]])[0, 0]
        np.testing.assert_allclose(path[0], seen, atol=1e-6)
        if start + 1 < len(contents.observations):
            following = task.planned_path(contents.observations.values[None, [int(start) + 1]])[0, 0]
            np.testing.assert_allclose(path[1], following, atol=0.01)


def test_without_the_viewer_one_line_says_how_to_get_it(whole_bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever is imported
        if name == "rerun":
            raise ImportError(name=name)
        return usual(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "rerun", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    result = CliRunner().invoke(app, ["view", str(whole_bag)])

    assert result.exit_code == 2
    assert "pip install 'demo-stack[view]'" in result.stderr.replace("\n", " ")


def test_a_recording_is_sent_whole(whole_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rerun")
    monkeypatch.setenv("RERUN_STRICT", "1")
    out = tmp_path / "run.rrd"
    result = CliRunner().invoke(app, ["view", str(whole_bag), "--save", str(out)])

    assert result.exit_code == 0, result.stderr
    content = out.read_bytes()
    assert content.startswith(b"RRF")
    assert len(content) > 10_000


@pytest.mark.parametrize(("name", "text"), [("nowhere", "no such bag"), ("empty", "no message in it")])
def test_nothing_to_show_is_one_line(name: str, text: str, tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    write_observations(tmp_path / "empty", 0).close()
    result = CliRunner().invoke(app, ["view", str(tmp_path / name), "--save", str(tmp_path / "run.rrd")])

    assert result.exit_code == 2
    assert text in result.stderr.replace("\n", " ")


def test_without_a_screen_it_says_what_to_do(whole_bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rerun")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(app, ["view", str(whole_bag)])

    assert result.exit_code == 2
    assert "--save FILE.rrd" in result.stderr.replace("\n", " ")
