"""democtl doctor on machines that are made up: each finding, its level, and what to change; then on this one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo_control.doctor import Finding, measure, worst_level
from demo_control.doctor.findings import run_checks
from demo_control.doctor.linux import Linux
from demo_control.doctor.measure import interruptions, timer_latency
from demo_control.doctor.middleware import Middleware
from demo_control.doctor.software import Software, unmet
from demo_control.doctor.timing import Timing

MEMORY = "MemTotal: 8000000 kB\nMemAvailable: {} kB\nSwapTotal: 0 kB\n"


def machine(root: Path, files: dict[str, str]) -> Linux:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return Linux(root)


def levels(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.topic: finding.level for finding in findings}


@pytest.mark.parametrize(
    ("version", "level"),
    [("Linux 6.8 #1 SMP PREEMPT_RT", "ok"), ("Linux 6.8 #1 SMP PREEMPT_DYNAMIC", "warning"), ("", "warning")],
)
def test_a_kernel_for_real_time_is_recognised(tmp_path: Path, version: str, level: str) -> None:
    found = machine(tmp_path, {"proc/version": version or "unknown"}).kernel()

    assert levels(found)["kernel"] == level


@pytest.mark.parametrize(
    ("version", "files", "cores", "level", "text"),
    [
        ("Linux version 6.8.0", {}, 2, None, ""),
        ("unknown", {}, 2, None, ""),
        ("Linux version 6.12.3", {}, 2, "warning", "for 50 ms"),
        ("Linux version 6.12.3", {}, 4, "ok", "for 50 ms"),
        ("Linux version 6.12.3", {"cpu0": "10000000", "cpu1": "30000000"}, 2, "warning", "for 30 ms"),
        ("Linux version 6.12.3", {"cpu0": "0", "cpu1": "0"}, 2, "ok", "off"),
        ("Linux version 6.8.0", {"cpu0": "20000000"}, 3, "warning", "for 20 ms"),
    ],
)
def test_what_starved_programs_may_take_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    files: dict[str, str],
    cores: int,
    level: str | None,
    text: str,
) -> None:
    monkeypatch.setattr("demo_control.doctor.linux.usable_cores", lambda: cores)
    folder = "sys/kernel/debug/sched/fair_server"
    there = {"proc/version": version, **{f"{folder}/{name}/runtime": value for name, value in files.items()}}
    found = [f for f in machine(tmp_path, there).kernel() if f.topic == "fair server"]

    assert [f.level for f in found] == ([] if level is None else [level])
    assert all(text in f.text for f in found)


@pytest.mark.parametrize(
    ("runtime", "level", "text"), [("950000", "ok", "95 %"), ("-1", "warning", "stops the machine")]
)
def test_the_share_of_real_time_threads_is_told(tmp_path: Path, runtime: str, level: str, text: str) -> None:
    files = {"proc/sys/kernel/sched_rt_runtime_us": runtime, "proc/sys/kernel/sched_rt_period_us": "1000000"}
    [found] = [f for f in machine(tmp_path, files).kernel() if f.topic == "real-time share"]

    assert (found.level, text in found.text) == (level, True)


@pytest.mark.parametrize(("capabilities", "level"), [("0000000000800000", "ok"), ("0000000000000000", "warning")])
def test_permission_for_real_time_is_a_capability_or_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capabilities: str, level: str
) -> None:
    monkeypatch.setattr("demo_control.doctor.linux.resource.getrlimit", lambda _which: (0, 0))
    found = list(machine(tmp_path, {"proc/self/status": f"CapEff:\t{capabilities}"}).permissions())

    assert levels(iter(found))["SCHED_FIFO"] == level
    assert bool(found[0].advice) == (level == "warning")
    monkeypatch.setattr("demo_control.doctor.linux.resource.getrlimit", lambda _which: (98, 98))
    assert levels(machine(tmp_path, {}).permissions())["SCHED_FIFO"] == "ok"


def test_cores_that_cannot_be_kept_awake_are_a_warning_with_the_rule_that_permits_it(tmp_path: Path) -> None:
    [closed] = [f for f in machine(tmp_path, {}).permissions() if f.topic == "sleep states"]
    [open_] = [f for f in machine(tmp_path, {"dev/cpu_dma_latency": ""}).permissions() if f.topic == "sleep states"]

    assert (closed.level, open_.level) == ("warning", "ok")
    assert "udev" in closed.advice
    assert "can be kept awake" in open_.text


@pytest.mark.parametrize(
    ("governors", "level"),
    [((), "ok"), (("performance", "performance"), "ok"), (("performance", "powersave"), "warning")],
)
def test_a_governor_that_saves_power_is_a_warning(tmp_path: Path, governors: tuple[str, ...], level: str) -> None:
    name = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
    linux = machine(tmp_path, {name.format(index): text for index, text in enumerate(governors)})

    assert levels(linux.frequency()) == {"frequency": level}


@pytest.mark.parametrize(("free_mb", "level"), [(4000, "ok"), (1000, "warning"), (300, "problem")])
def test_little_memory_is_a_warning_and_too_little_a_problem(tmp_path: Path, free_mb: int, level: str) -> None:
    linux = machine(tmp_path, {"proc/meminfo": MEMORY.format(free_mb << 10)})

    assert levels(linux.memory())["memory"] == level


def test_siblings_and_isolated_cores_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo_control.doctor.linux.usable_cores", lambda: 8)
    files = {
        "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0,4",
        "sys/devices/system/cpu/isolated": "2-3",
    }
    found = {finding.topic: finding for finding in machine(tmp_path, files).cores()}

    assert {topic: finding.level for topic, finding in found.items()} == {
        "cores": "ok", "isolation": "ok", "hyperthreads": "warning",
    }  # fmt: skip
    assert "cores: '2-3'" in found["isolation"].advice


@pytest.mark.parametrize(("source", "level"), [("tsc", "ok"), ("hpet", "warning")])
def test_a_slow_clock_is_a_warning(tmp_path: Path, source: str, level: str) -> None:
    name = "sys/devices/system/clocksource/clocksource0/current_clocksource"

    assert levels(machine(tmp_path, {name: source}).clock())["clock"] == level


@pytest.mark.parametrize("text", ["-1", "102", "first", "1.5", "010"])
def test_what_is_no_domain_is_a_problem(text: str) -> None:
    assert levels(Middleware({"ROS_DOMAIN_ID": text}).domain()) == {"ROS domain": "problem"}


def test_a_domain_in_use_is_noticed() -> None:
    with socket.socket(socket.AF_UNIX) as claim:
        domain = first_free_domain(claim)
        assert levels(Middleware({"ROS_DOMAIN_ID": domain}).domain()) == {"ROS domain": "warning"}
    assert levels(Middleware({"ROS_DOMAIN_ID": domain}).domain()) == {"ROS domain": "ok"}


def first_free_domain(claim: socket.socket) -> str:
    """Take a domain that no bring-up on this machine is in; other tests may be."""
    for domain in range(101, 0, -1):
        with contextlib.suppress(OSError):
            claim.bind(f"\0demo_control/ros_domain/{domain}")
            return str(domain)
    pytest.skip("all domains are in use")


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({}, "ok"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "ok"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "ok"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "warning"),
        ({"ROS_LOCALHOST_ONLY": "0"}, "warning"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_STATIC_PEERS": "10.0.0.7"}, "warning"),
    ],
)
def test_whom_the_robot_can_hear_is_told(environment: dict[str, str], level: str) -> None:
    assert levels(Middleware(environment).discovery()) == {"discovery": level}


def test_small_socket_buffers_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "proc/sys/net/core/rmem_max"
    path.parent.mkdir(parents=True)
    path.write_text("65536\n")
    assert levels(Middleware({}, tmp_path).sockets()) == {"sockets": "warning"}
    path.write_text("212992\n")
    assert levels(Middleware({}, tmp_path).sockets()) == {"sockets": "ok"}


def test_packages_out_of_range_and_missing_ones_are_named() -> None:
    requirements = ["numpy>=1.26", "pytest<1", "no-such-package>=2", "another-one>=1; extra == 'train'"]
    pytest_version = pytest.__version__

    assert list(unmet(requirements)) == [f"pytest {pytest_version} is not <1", "no-such-package is missing"]


def test_another_ros_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(Software({"ROS_DISTRO": "humble"}).other_ros()) == {"other ROS": "problem"}
    assert levels(Software({}).other_ros()) == {"other ROS": "ok"}
    monkeypatch.setattr("demo_control.doctor.software._from_pip", lambda: True)
    mixed = {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": "/home/me/ws/install:/opt/ros/jazzy"}
    assert levels(Software(mixed).other_ros()) == {"other ROS": "problem"}
    monkeypatch.setattr("demo_control.doctor.software._from_pip", lambda: False)
    assert levels(Software(mixed).other_ros()) == {"other ROS": "ok"}


def measured(fifo_refused: str, p99_ms: float, plan_ms: float) -> Timing:
    def measuring(what: str, scheduling: str, _seconds: float) -> dict[str, object]:
        if scheduling == "fifo" and fifo_refused:
            return {"refusal": fifo_refused}
        if what == "interruptions":
            return {"refusal": "", "share_percent": 0.1, "longest_ms": 2.0, "over_1_ms_per_s": p99_ms}
        if what == "plans":
            return {"refusal": "", "tasks": {"walker": {"p50_ms": 1.0, "p99_ms": plan_ms, "period_ms": 20.0}}}
        late = p99_ms if scheduling == "fifo" else 3.0
        return {"refusal": "", "lateness_ms": {"p50": 0.05, "p99": late, "max": 9.0}}

    return Timing(1.0, measuring)


@pytest.mark.parametrize(("p99_ms", "level"), [(0.1, "ok"), (1.0, "warning"), (4.0, "problem")])
def test_the_scheduling_that_the_nodes_will_have_decides_about_timers(p99_ms: float, level: str) -> None:
    found = list(measured("", p99_ms, 1.0).timers())

    assert [finding.level for finding in found] == ["ok", level]
    refused = list(measured("Operation not permitted: needs …", p99_ms, 1.0).timers())
    assert [finding.level for finding in refused] == ["problem", "ok"]


def test_a_machine_that_takes_time_from_real_time_threads_is_told_of() -> None:
    [few] = measured("", 0.01, 1.0).interruptions()
    [many] = measured("", 3.0, 1.0).interruptions()
    [unknown] = measured("Operation not permitted: needs …", 3.0, 1.0).interruptions()

    assert [few.level, many.level, unknown.level] == ["ok", "warning", "ok"]
    assert "3.0 a second of over 1 ms" in many.text


def test_what_is_taken_from_a_thread_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by 10 µs a look, but by 2 ms at each hundredth and by 0.2 ms at each fiftieth."""
    looks, now = 0, 0

    class Clock:
        @staticmethod
        def monotonic_ns() -> int:
            nonlocal looks, now
            looks += 1
            now += 2_000_000 if looks % 100 == 0 else 200_000 if looks % 50 == 0 else 10_000
            return now

        @staticmethod
        def sleep(seconds: float) -> None:
            nonlocal now
            now += int(1e9 * seconds)

    monkeypatch.setattr(measure, "time", Clock)
    cores = os.sched_getaffinity(0)
    found = interruptions(4.0)

    hundred_s = 98 * 10e-6 + 2e-3 + 0.2e-3
    assert found["share_percent"] == pytest.approx(100.0 * 2.2e-3 / hundred_s, rel=0.02)
    assert found["longest_ms"] == 2.0
    assert found["over_1_ms_per_s"] == pytest.approx(1.0 / hundred_s, rel=0.02)
    assert os.sched_getaffinity(0) == cores


@pytest.mark.parametrize(("plan_ms", "level"), [(10.0, "ok"), (18.0, "warning"), (25.0, "problem")])
def test_plans_are_held_against_their_period(plan_ms: float, level: str) -> None:
    for refusal in ("", "not permitted"):
        [finding] = measured(refusal, 0.1, plan_ms).plans()
        assert finding.level == level
        assert ("democtl tune walker" in finding.advice) == (level != "ok")


def test_a_check_that_fails_is_a_finding_and_the_others_go_on() -> None:
    def broken() -> Iterator[Finding]:
        yield Finding("first", "ok", "")
        raise KeyError("MemAvailable")

    found = run_checks([("memory", broken), ("more", lambda: iter([Finding("more", "ok", "")]))])

    assert [(finding.topic, finding.level) for finding in found] == [
        ("first", "ok"), ("memory", "warning"), ("more", "ok"),
    ]  # fmt: skip
    assert worst_level(found) == "warning"
    assert worst_level([]) == "ok"


def test_the_lateness_of_a_timer_is_measured() -> None:
    lateness = timer_latency(0.2)["lateness_ms"]

    assert 0.0 <= lateness["p50"] <= lateness["p99"] <= lateness["max"]


def test_it_looks_at_this_machine_and_writes_json(tmp_path: Path) -> None:
    """Whether this machine holds what it shall is not the test's business, but that the exit code says it."""
    file = tmp_path / "doctor.json"
    command = [sys.executable, "-m", "demo_control.cli.main", "doctor", "--seconds", "0.2", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(file.read_text())

    assert done.returncode == (0 if report["holds"] else 1), done.stderr
    topics = {finding["topic"] for finding in report["findings"]}
    assert {
        "kernel",
        "SCHED_FIFO",
        "cores",
        "memory",
        "disk",
        "Python",
        "kernel extension",
        "timer",
        "interruptions",
        "plans",
    } <= topics
    assert report["figures"]["timer"]["ordinary"]["lateness_ms"]["p50"] is not None
    assert "kernel extension" in done.stdout
