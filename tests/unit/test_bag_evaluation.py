"""Recordings answered again: the same commands bit for bit, whatever came when; what is said where that cannot be."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo_control.bags.errors import BagError
from demo_control.bags.evaluation import Request, evaluate_bag
from demo_control.bundle import Bundle, default_bundle, load_bundle, save_bundle
from demo_control.configuration import ConfigurationError
from demo_control.tasks import load_task

from .recorded_bag import START_NS, RobotRecorder, record_cartpole

pytestmark = pytest.mark.skipif(not default_bundle("cartpole").is_dir(), reason="no bundle of the cart-pole is shipped")

MIDDLE_NS = START_NS + 30 * 20_000_000
"""Of a recording of sixty commands."""


def evaluated(path: Path, bundle: Path | None = None, **settings: Any) -> dict[str, Any]:  # noqa: ANN401 - settings
    return evaluate_bag(Request(path, bundle, settings))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_cartpole(tmp_path_factory.mktemp("bags") / "small")


@pytest.fixture
def other_bundle(tmp_path: Path) -> Path:
    """The shipped bundle under another hash."""
    shipped = load_bundle(default_bundle("cartpole"), load_task("cartpole"))
    contract = dataclasses.replace(shipped.contract, metrics={"made_for": "a test"})
    other = Bundle(contract, shipped.policy, shipped.dynamics, shipped.value)
    save_bundle(other, tmp_path / "other", "For tests.\n")
    return tmp_path / "other"


def test_the_recorded_commands_come_out_bit_for_bit(bag: Path) -> None:
    report = evaluated(bag)

    assert report["bit_exact"] is True
    assert report["complete"] is True
    assert report["actions"] == report["identical_actions"] == report["answered_actions"] == 60
    assert report["plans"] == report["identical_plans"] > 20
    assert report["first_difference"] is None
    assert report["metrics"]["difference_max"] == [0.0]
    assert report["metrics"]["sources"] == report["metrics"]["sources_recorded"]
    assert report["metrics"]["sources"]["demo_layer"] > 40
    assert report["warnings"] == []
    assert report["recorded_s"] == pytest.approx(59 * 0.02)
    assert report["real_time_factor"] > 0.0
    assert report["timing"]["command_period_ms"]["p50"] == pytest.approx(20.0)
    assert report["timing"]["command_age_ms"]["p50"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("clock", "warning"),
    [
        (
            lambda stamp_ns: stamp_ns - (3600 * 10**9 if stamp_ns > MIDDLE_NS else 0),
            "clock jumps 1 times, by up to 3600",
        ),
        (lambda stamp_ns: stamp_ns + (10**18 if stamp_ns > MIDDLE_NS else 0), r"clock jumps 1 times, by up to 1e\+09"),
        (lambda _stamp_ns: 0, "clock stands still"),
    ],
    ids=["back", "on", "still"],
)
def test_a_recorder_whose_clock_is_wrong_makes_nothing_longer_or_shorter(
    tmp_path: Path, clock: Callable[[int], int], warning: str
) -> None:
    recorder = RobotRecorder(tmp_path / "bag")
    recorder.scribe.clock = clock
    recorder.activate()
    recorder.run(60)
    report = evaluated(recorder.close())

    assert report["recorded_s"] == pytest.approx(59 * 0.02)
    assert [line for line in report["warnings"] if re.search(warning, line)]


def test_a_late_message_is_no_jump_and_a_gap_is_as_long_as_it_was(tmp_path: Path) -> None:
    recorder = RobotRecorder(tmp_path / "bag")
    recorder.scribe.clock = lambda stamp_ns: stamp_ns + (10**9 // 2 if stamp_ns > MIDDLE_NS else 0)
    recorder.scribe.lost = {("/action", number) for number in range(2, 60)}
    recorder.activate()
    recorder.run(60)
    report = evaluated(recorder.close())

    assert report["recorded_s"] == pytest.approx(59 * 0.02 + 0.5)
    assert not [line for line in report["warnings"] if "clock" in line]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_came_when_the_same_commands_come_out(tmp_path: Path, seed: int, other_bundle: Path) -> None:
    """Settings and bundles that change in flight, late plans, a driver and a layer that start anew, or die."""
    recorder = RobotRecorder(tmp_path / "bag", seed=seed, latest=6)
    events = np.random.default_rng(seed).permutation(np.arange(5, 85, 10)).tolist()
    actions = [
        lambda: recorder.change(step_size=0.3),
        lambda: recorder.swap(other_bundle),
        lambda: recorder.change(use_layer=False),
        lambda: recorder.change(use_layer=True, maximum_plan_age_ticks=2),
        recorder.activate,
        recorder.start_driver,
        recorder.restart_layer,
        lambda: recorder.change(minimum_gain=1e6),
    ]
    plan = dict(zip(events, actions, strict=True))
    recorder.activate()
    recorder.run(90, lambda tick: plan.get(tick, lambda: None)())
    report = evaluated(recorder.close())

    assert report["bit_exact"] is True, report["first_difference"]
    assert report["activations"] == 3
    assert report["actions"] == 90
    assert report["identical_plans"] == report["plans"]
    assert len(report["bundle_sha256"]) == 2


@pytest.mark.parametrize("seed", range(4))
def test_settings_that_change_while_plans_are_made_come_out(tmp_path: Path, seed: int) -> None:
    """Commands follow them at once, the plan that is under way does not."""
    recorder = RobotRecorder(tmp_path / "bag", seed=seed, latest=6)
    generator = np.random.default_rng(seed)
    begun_during = 0

    def change_something(_tick: int) -> None:
        nonlocal begun_during
        if generator.random() > 0.4:
            return
        begun_during += recorder.is_planning
        changes = {
            "use_layer": bool(generator.integers(2)),
            "maximum_plan_age_ticks": int(generator.integers(1, 8)),
            "minimum_gain": float(generator.choice([-1e9, 0.0, 1e6])),
            "step_size": float(generator.uniform()),
        }
        recorder.change(**{name: changes[name] for name in generator.permutation(list(changes))[:2]})

    recorder.activate()
    recorder.run(120, change_something)
    report = evaluated(recorder.close())

    assert begun_during > 10
    assert report["bit_exact"] is True, report["first_difference"]
    assert report["identical_plans"] == report["plans"]


@pytest.mark.skipif(not default_bundle("stoch2").is_dir(), reason="no bundle of Stoch2 is shipped")
def test_plans_of_corrections_come_out_bit_for_bit(tmp_path: Path) -> None:
    """On Stoch2 a plan decides on corrections, each held for several commands."""
    recorder = RobotRecorder(tmp_path / "bag", name="stoch2", settings={"num_samples": 66}, latest=8)
    recorder.activate()
    recorder.run(120, lambda tick: recorder.change(minimum_gain=-1e9) if tick == 35 else None)
    report = evaluated(recorder.close())

    assert report["bit_exact"] is True, report["first_difference"]
    assert report["plans"] == report["identical_plans"] == 12
    assert report["metrics"]["sources"]["demo_layer"] > 60


def test_plans_that_outlive_the_horizon_do_not_matter(tmp_path: Path) -> None:
    report = evaluated(record_cartpole(tmp_path / "bag", latest=30, ticks=120))

    assert report["bit_exact"] is True
    assert report["metrics"]["sources"]["policy:stale_plan"] > 5


def test_other_settings_say_what_would_have_been_commanded(bag: Path) -> None:
    report = evaluated(bag, step_size=0.2)

    assert report["bit_exact"] is False
    assert report["changed"]["settings"] == {"step_size": 0.2}
    assert report["first_difference"]["sequence"] > 0
    assert 0 < report["identical_actions"] < report["actions"]
    assert report["metrics"]["difference_rms"][0] > 0.0


def test_the_layer_switched_off_answers_with_the_nominal_actions(bag: Path) -> None:
    report = evaluated(bag, use_layer=False)

    assert report["metrics"]["sources"] == {"policy:disabled": 60}


def test_the_same_settings_given_are_no_change(bag: Path) -> None:
    report = evaluated(bag, default_bundle("cartpole"), horizon=8)

    assert report["changed"] == {"bundle": False, "settings": {}, "nominal_actions": "recorded"}
    assert report["bit_exact"] is True


def test_another_bundle_is_told_and_is_never_called_exact(bag: Path, other_bundle: Path) -> None:
    report = evaluated(bag, other_bundle)

    assert report["changed"]["bundle"] is True
    assert report["changed"]["nominal_actions"] == "recorded"
    assert report["identical_actions"] == report["actions"]
    assert report["bit_exact"] is False


def test_another_plan_period_makes_plans_at_other_times(bag: Path) -> None:
    report = evaluated(bag, plan_period_ticks=5)

    assert report["answered_plans"] == 12
    assert any("plan_period_ticks = 5" in warning for warning in report["warnings"])


def test_changes_in_flight_hold_at_another_plan_period_too(tmp_path: Path) -> None:
    recorder = RobotRecorder(tmp_path / "bag")
    recorder.activate()
    recorder.run(60, lambda tick: recorder.change(use_layer=False) if tick == 30 else None)
    report = evaluated(recorder.close(), plan_period_ticks=4)

    assert report["metrics"]["sources"]["policy:disabled"] == 30
    assert report["answered_plans"] == 15


def test_a_change_in_a_recording_that_begins_late_holds_from_its_stamp_on(tmp_path: Path) -> None:
    recorder = RobotRecorder(tmp_path / "bag")
    recorder.scribe.lost = {
        (topic, number) for topic in ("/observation", "/nominal_action", "/action") for number in range(1, 21)
    }
    recorder.activate()
    recorder.run(60, lambda tick: recorder.change(use_layer=False) if tick == 40 else None)
    report = evaluated(recorder.close())

    assert report["metrics"]["sources"]["policy:disabled"] == 20
    assert report["complete"] is False


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("/action", "/action: 1 messages are missing"),
        ("/nominal_action", "the nominal action is not in the recording: commands 20"),
        ("/observation", "the observation is not in the recording: plans"),
        ("/planner_status", "/planner_status: 1 plans are missing in the recording"),
    ],
)
def test_what_the_recorder_lost_is_told(tmp_path: Path, topic: str, text: str) -> None:
    recorder = RobotRecorder(tmp_path / "bag", latest=1)
    recorder.scribe.lost = {(topic, 21)}
    recorder.activate()
    recorder.run(40)
    report = evaluated(recorder.close())

    assert report["complete"] is False
    assert any(text in warning for warning in report["warnings"]), report["warnings"]
    assert report["identical_actions"] >= 20


def test_a_recording_that_begins_late_is_told_and_is_not_exact(tmp_path: Path) -> None:
    recorder = RobotRecorder(tmp_path / "bag")
    recorder.scribe.lost = {
        (topic, number)
        for topic in ("/observation", "/nominal_action", "/action", "/planner_status")
        for number in range(1, 11)
    }
    recorder.activate()
    recorder.run(60)
    report = evaluated(recorder.close())

    assert report["bit_exact"] is False
    assert report["complete"] is False
    assert any("begins after the layer's activation" in warning for warning in report["warnings"])
    assert report["answered_actions"] == 50


def test_a_clock_that_goes_backwards_is_told(tmp_path: Path) -> None:
    recorder = RobotRecorder(tmp_path / "bag")
    recorder.activate()
    recorder.run(30)
    recorder._now_ns -= 10**9
    recorder.run(10)
    report = evaluated(recorder.close())

    assert report["complete"] is False
    assert any("the clock goes backwards" in warning for warning in report["warnings"])


def set_back(recorder: RobotRecorder) -> None:
    """The robot's clock is set by a second, as NTP does it."""
    recorder._now_ns -= 10**9


@pytest.mark.parametrize(
    ("between", "activations"),
    [
        ((set_back, lambda recorder: recorder.change(step_size=0.6)), 1),
        ((RobotRecorder.activate, set_back), 2),
        ((lambda recorder: (set_back(recorder), recorder.activate()), lambda _: None), 2),
    ],
)
def test_a_clock_that_was_set_back_puts_nothing_into_another_activation(
    tmp_path: Path, between: tuple[Callable[[RobotRecorder], object], ...], activations: int
) -> None:
    """What is of which activation is known by the layer's counts, too."""
    recorder = RobotRecorder(tmp_path / "bag")
    recorder.activate()
    for happens in between:
        recorder.run(30)
        happens(recorder)
    recorder.run(20)
    report = evaluated(recorder.close())

    assert (report["activations"], report["actions"], report["bit_exact"]) == (activations, 80, True)
    assert any("/action: the clock goes backwards 1 times" in warning for warning in report["warnings"])
    assert not [warning for warning in report["warnings"] if "plans are missing" in warning]


def test_a_bundle_that_is_not_here_is_named(tmp_path: Path, other_bundle: Path) -> None:
    bag = record_cartpole(tmp_path / "bag", 5, directory=other_bundle)
    (other_bundle / "policy.onnx").unlink()
    with pytest.raises(BagError, match=r"bundle .* that was recorded is not here; --bundle names"):
        evaluated(bag)


def test_a_swapped_bundle_that_is_gone_costs_its_part_only(tmp_path: Path, other_bundle: Path) -> None:
    recorder = RobotRecorder(tmp_path / "bag")
    recorder.activate()
    recorder.run(40, lambda tick: recorder.swap(other_bundle) if tick == 20 else None)
    bag = recorder.close()
    both = evaluated(bag)
    assert any("several bundles were in use" in warning for warning in both["warnings"])
    (other_bundle / "policy.onnx").unlink()
    report = evaluated(bag)

    assert any("a swap of the bundle was left out" in warning for warning in report["warnings"])
    assert report["model_error"] == both["model_error"]  # its dynamics are the same
    assert report["complete"] is False


@pytest.mark.parametrize(("name", "value"), [("step_sise", 0.2), ("step_size", 3.0)])
def test_a_wrong_setting_is_named(bag: Path, name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        evaluated(bag, **{name: value})
