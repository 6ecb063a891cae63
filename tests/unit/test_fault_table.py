"""The campaign's table: complete, unique, in a fixed order; its report; what the relay does to messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from demo_control.bundle import default_bundle
from demo_control.cli.main import app
from demo_control.configuration import ConfigurationError
from demo_control.faults.distortion import VALUE_FAULTS, Distorter, Distortion
from demo_control.faults.disturber import KINDS
from demo_control.faults.report import page, summary
from demo_control.faults.table import FAULTS, PHASES, PUSHED, QUICK, STEADY, cases


class Notes:
    """A rig that only notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any step of a rig
        def note(*arguments: object, **settings: object) -> None:
            self.asked.append(f"{name} {arguments} {settings}")
            if name == "distort":
                assert arguments[0] in ("observation", "action")
                Distortion.from_mapping(settings)
            elif name == "disturb":
                assert arguments[0] in KINDS
            elif name == "load_garbage" and arguments[1]:
                assert (default_bundle("cartpole") / str(arguments[1])).is_file()

        return note


def test_the_matrix_has_all_phases_and_at_least_150_cases() -> None:
    both = cases(["cartpole", "stoch2"])
    assert len(both) >= 150
    assert {case.phase for case in both} == set(PHASES)
    assert {case.fault.name for case in both} == {fault.name for fault in FAULTS}
    assert len({case.name for case in both}) == len(both)
    assert [case.name for case in both] == [case.name for case in cases(["cartpole", "stoch2"])]


@pytest.mark.parametrize(
    "kind",
    ["kill_", "halt_", "lose_", "delay_", "double_", "sensor_nan", "sensor_inf", "sensor_huge", "sensor_stuck",
     "sensor_frozen", "clock_forward", "clock_back", "bundle_", "parameter_spam", "junk_", "rival", "command_shorter",
     "hogs", "memory", "full_disk", "other_domain"],
)  # fmt: skip
def test_every_kind_of_fault_is_there_while_the_robot_works(kind: str) -> None:
    assert any(case.fault.name.startswith(kind) and case.phase == STEADY for case in cases(["cartpole"]))


def test_every_node_is_killed_and_halted() -> None:
    names = {fault.name for fault in FAULTS}
    nodes = ("policy", "demo_layer", "driver")
    assert {f"{what}_{node}" for what in ("kill", "halt") for node in nodes} <= names


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_can_be_injected_and_undone_with_settings_that_exist(fault: Any) -> None:  # noqa: ANN401
    rig = Notes()
    fault.inject(rig)
    assert rig.asked or fault.name == "nothing"
    fault.undo(rig)


def test_the_last_case_of_a_phase_waits_for_what_the_others_left_behind() -> None:
    both = cases(["cartpole", "stoch2"])
    last = {(case.task, case.phase): case.fault.name for case in both}
    assert {place for place, name in last.items() if name == "nothing"} == {
        (task, phase) for task in ("cartpole", "stoch2") for phase in (STEADY, PUSHED)
    }


def test_a_quick_campaign_is_a_dozen_cases() -> None:
    assert len(cases(["cartpole"], quick=True)) == len(QUICK) == 12


def result(**changes: object) -> dict[str, Any]:
    return {
        "task": "cartpole", "phase": "steady", "fault": "x", "text": "something", "did": "stopped safely", "outputs": 9,
        "commands_outside_limits": 0, "unsafe": 0, "time_to_safe_ms": 100.0, "recovered": True, "latched": "",
        "failures": [], "limit_ms": 120.0, "load": 1.0, **changes,
    }  # fmt: skip


def test_the_report_adds_up() -> None:
    results = [
        result(),
        result(time_to_safe_ms=101.5, commands_outside_limits=2, failures=["2 outputs outside the limits"]),
        result(task="stoch2", time_to_safe_ms=None, unsafe=1, limit_ms=105.0),
        {"task": "stoch2", "phase": "steady", "fault": "full_disk", "text": "full", "skipped": "not permitted"},
    ]
    total = summary(results)
    assert (total["cases"], total["commands_outside_limits"], total["unsafe"]) == (3, 2, 1)
    assert total["time_to_safe_ms"]["max"] == 101.5
    assert total["time_to_safe_ms"]["by_task"]["stoch2"] == {"max": None, "limit": 105.0}
    assert total["failures"] == ["cartpole, steady, x: 2 outputs outside the limits"]
    assert total["skipped"] == ["stoch2, steady, full_disk: not permitted"]
    text = page(results, "democtl faults", "A machine.")
    assert text.count("| steady |") == 4
    assert "3 cases, 2 commands outside limits, 1 unsafe" in text


def test_a_failure_while_the_machine_stood_still_says_so() -> None:
    told = [
        result(failures=["stopped"], machine_stall_ms=117.0),
        result(failures=["stopped"], machine_stall_ms=3.0),
        result(failures=["stopped"], machine_stall_ms=None),
        result(machine_stall_ms=117.0),
    ]
    long = "stopped (the machine stood still for 117 ms)"

    assert summary(told)["failures"] == [f"cartpole, steady, x: {text}" for text in (long, "stopped", "stopped")]
    assert page(told, "democtl faults", "A machine.").count(long) == 1


def distorter(**settings: object) -> Distorter:
    made = Distorter(np.random.default_rng(1))
    made.begin(Distortion.from_mapping(settings))
    return made


def test_messages_are_lost_doubled_and_late_as_often_as_wanted() -> None:
    losing = distorter(loss=0.2)
    assert 150 < sum(not losing.delays() for _ in range(1000)) < 250
    doubling = distorter(duplication=0.5, delay_s=0.1)
    copies = [doubling.delays() for _ in range(1000)]
    assert 400 < sum(len(each) == 2 for each in copies) < 600
    assert {delay for each in copies for delay in each} == {0.1}
    assert distorter(blocked=True).delays() == []
    assert distorter().delays() == [0.0]


def test_the_same_seed_loses_the_same_messages_whatever_the_delay() -> None:
    one, other = distorter(loss=0.3), distorter(loss=0.3, delay_s=0.5, jitter_s=0.1)
    assert [not one.delays() for _ in range(200)] == [not other.delays() for _ in range(200)]


@pytest.mark.parametrize("fault", VALUE_FAULTS)
def test_values_are_spoilt_as_the_name_says_and_the_message_is_left_alone(fault: str) -> None:
    spoiling = distorter(values=fault)
    first, second = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    spoiling.values(first)
    spoilt = spoiling.values(second)
    expected = {
        "": [3.0, 4.0], "nan": [np.nan] * 2, "inf": [np.inf] * 2, "huge": [1e30] * 2, "zero": [0.0] * 2,
        "stuck": [1.0, 4.0], "frozen": [1.0, 2.0], "longer": [3.0, 4.0, 3.0], "shorter": [3.0], "empty": [],
    }[fault]  # fmt: skip
    np.testing.assert_array_equal(spoilt, expected)
    np.testing.assert_array_equal(second, [3.0, 4.0])


def test_an_unknown_distortion_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="values"):
        Distortion.from_mapping({"values": "purple"})


def test_a_listed_case_is_one_line_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    listed = CliRunner().invoke(app, ["faults", "--task", "cartpole", "--list"]).stdout.splitlines()
    assert listed == [f"{case.name}: {case.fault.text}" for case in cases(["cartpole"])]
