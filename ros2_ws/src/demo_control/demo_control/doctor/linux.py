"""Kernel, permissions, cores, frequency, memory, clocks, disk."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from demo_control.doctor.findings import Check, Finding
from demo_control.machine import processor_name, usable_cores
from demo_control.real_time import SLEEP_DEVICE, may_keep_awake, may_lock_memory, parse_cores

_CAP_SYS_NICE = 23
_LIMITS = (
    "add '@realtime - rtprio 98' and '@realtime - memlock unlimited' to /etc/security/limits.conf, and log in anew"
)
_SLEEP = (
    'put KERNEL=="cpu_dma_latency", GROUP="realtime", MODE="0660" into /etc/udev/rules.d/99-realtime.rules, and restart'
)
_FAIR_SERVER = "sys/kernel/debug/sched/fair_server"
_FIRST_WITH_FAIR_SERVER = (6, 12)
_FAIR_SERVER_NS = 50_000_000  # Linux's own setting
_ENOUGH_MEMORY_MB, _LITTLE_MEMORY_MB = 1500, 700
_ENOUGH_DISK_MB, _LITTLE_DISK_MB = 5000, 500
_PRIORITY = 45
_FEWEST_CORES, _ENOUGH_CORES = 2, 4


class Linux:
    """Looks at one machine.

    Args:
        root: Where /proc and /sys are; another folder in tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def checks(self) -> list[tuple[str, Check]]:
        """All checks by topic."""
        return [
            ("kernel", self.kernel),
            ("permissions", self.permissions),
            ("cores", self.cores),
            ("frequency", self.frequency),
            ("memory", self.memory),
            ("clock", self.clock),
            ("disk", self.disk),
        ]

    def kernel(self) -> Iterator[Finding]:
        """Whether it is one for real time, and how much of the time real-time threads may take."""
        version = self._read("proc/version") or platform.version()
        name = f"Linux {platform.release()}"
        if "PREEMPT_RT" in version or self._read("sys/kernel/realtime") == "1":
            yield Finding("kernel", "ok", f"{name}, PREEMPT_RT")
        else:
            advice = "for the shortest delays, install a PREEMPT_RT kernel (Ubuntu: pro enable realtime-kernel)"
            yield Finding("kernel", "warning", f"{name}, not PREEMPT_RT", advice)
        runtime = self._read("proc/sys/kernel/sched_rt_runtime_us")
        if runtime and int(runtime) == -1:
            text = "real-time threads may take all of the time: one that never sleeps stops the machine"
            yield Finding("real-time share", "warning", text, "sysctl -w kernel.sched_rt_runtime_us=950000")
        elif runtime:
            period = int(self._read("proc/sys/kernel/sched_rt_period_us") or 1_000_000)
            yield Finding("real-time share", "ok", f"real-time threads may take {100 * int(runtime) / period:.0f} %")
        yield from self._fair_server(version)

    def _fair_server(self, version: str) -> Iterator[Finding]:
        """How long ordinary programs that get no core may take one from real-time threads."""
        runtimes = [
            self._read(str(path.relative_to(self._root))) for path in self._root.glob(f"{_FAIR_SERVER}/*/runtime")
        ]
        known = [int(runtime) for runtime in runtimes if runtime.isdigit()]
        if not known and _numbers(version) < _FIRST_WITH_FAIR_SERVER:
            return
        longest_ms = max(known, default=_FAIR_SERVER_NS) / 1e6
        if longest_ms == 0.0:
            yield Finding("fair server", "ok", "off: ordinary programs wait for as long as real-time threads want")
            return
        text = f"ordinary programs that get no core may take one for {longest_ms:.0f} ms of each second"
        if usable_cores() >= _ENOUGH_CORES:
            yield Finding("fair server", "ok", text)
        else:
            advice = f"4 cores; or echo 0 into /{_FAIR_SERVER}/cpu*/runtime, for as long as the robot runs"
            yield Finding("fair server", "warning", f"{text}, from real-time threads as well", advice)

    def permissions(self) -> Iterator[Finding]:
        """Whether the nodes may have a real-time priority and locked memory."""
        limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
        if _effective(self._read("proc/self/status"), _CAP_SYS_NICE):
            yield Finding("SCHED_FIFO", "ok", "permitted (CAP_SYS_NICE)")
        elif limit == resource.RLIM_INFINITY or limit >= _PRIORITY:
            yield Finding("SCHED_FIFO", "ok", f"permitted (rtprio limit {limit})")
        else:
            text = f"not permitted (rtprio limit {limit}): a busy machine makes commands late"
            yield Finding("SCHED_FIFO", "warning", text, _LIMITS)
        problem = may_lock_memory()
        text = f"not permitted ({problem.split(':')[0]})" if problem else "permitted"
        yield Finding("locked memory", "warning" if problem else "ok", text, _LIMITS if problem else "")
        problem = may_keep_awake(self._root / SLEEP_DEVICE.relative_to("/"))
        text = f"cores may sleep between two ticks: {problem}" if problem else "cores can be kept awake"
        yield Finding("sleep states", "warning" if problem else "ok", text, _SLEEP if problem else "")

    def cores(self) -> Iterator[Finding]:
        """How many there are, isolated ones, and whether they share their units with a sibling."""
        count = usable_cores()
        text = f"{count} usable, {processor_name()}"
        if count < _FEWEST_CORES:
            yield Finding("cores", "problem", text, "planner and control path need two cores")
        else:
            advice = (
                ""
                if count >= _ENOUGH_CORES
                else "with 4 cores, nothing on the robot's computer has to wait for another"
            )
            yield Finding("cores", "ok" if count >= _ENOUGH_CORES else "warning", text, advice)
        isolated = self._read("sys/devices/system/cpu/isolated")
        if isolated:
            text = f"cores {isolated} are isolated"
            yield Finding("isolation", "ok", text, f"give them to the nodes: parameter cores: '{isolated}'")
        else:
            yield Finding("isolation", "ok", "no cores are isolated (isolcpus=…), which only hard bounds need")
        siblings = self._read("sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
        if siblings and len(parse_cores(siblings)) > 1:
            text = f"hyperthreads are on (core 0 shares its units with {siblings}): times vary more"
            yield Finding("hyperthreads", "warning", text, "echo off > /sys/devices/system/cpu/smt/control")
        else:
            yield Finding("hyperthreads", "ok", "none")

    def frequency(self) -> Iterator[Finding]:
        """Whether the processor slows down between two ticks."""
        governors = sorted(
            {
                path.read_text(encoding="utf-8").strip()
                for path in self._root.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
            }
        )
        if not governors:
            yield Finding("frequency", "ok", "Linux does not control it here (a virtual machine, or the firmware does)")
        elif governors == ["performance"]:
            yield Finding("frequency", "ok", "governor performance")
        else:
            text = f"governor {', '.join(governors)}: slow at the start of each tick"
            yield Finding("frequency", "warning", text, "sudo cpupower frequency-set -g performance")

    def memory(self) -> Iterator[Finding]:
        """What is free, and whether there is swap that nodes could be put into."""
        values = dict(line.split(":", 1) for line in self._read("proc/meminfo").splitlines())
        free = int(values["MemAvailable"].split()[0]) // 1024
        level = "ok" if free >= _ENOUGH_MEMORY_MB else "warning" if free >= _LITTLE_MEMORY_MB else "problem"
        advice = "" if level == "ok" else f"a bring-up takes about {_LITTLE_MEMORY_MB} MB: end other programs"
        yield Finding("memory", level, f"{free} MB available", advice)
        if int(values.get("SwapTotal", "0 kB").split()[0]) and may_lock_memory():
            yield Finding("swap", "warning", "on, and memory cannot be locked", "swapoff -a, or permit locked memory")

    def clock(self) -> Iterator[Finding]:
        """The clock that Linux reads, and whether it is kept in time."""
        source = self._read("sys/devices/system/clocksource/clocksource0/current_clocksource")
        good = source in {"tsc", "arch_sys_counter", "kvm-clock"}
        advice = "" if good else "reading the time is slow: see dmesg for why the processor's own counter is not used"
        yield Finding("clock", "ok" if good else "warning", f"clock source {source or 'unknown'}", advice)
        synchronised = (self._root / "run/systemd/timesync/synchronized").exists() or any(
            (self._root / "run" / name).exists() for name in ("chrony/chronyd.pid", "ntpd.pid", "chronyd.pid")
        )
        if synchronised:
            yield Finding("time", "ok", "kept by a time service")
        else:
            text = "no time service seen: stamps of several computers cannot be compared"
            yield Finding("time", "warning", text, "needed only with several computers: install chrony")

    def disk(self) -> Iterator[Finding]:
        """Space for recordings here, and for Fast DDS."""
        free = shutil.disk_usage(Path.cwd()).free >> 20
        level = "ok" if free >= _ENOUGH_DISK_MB else "warning" if free >= _LITTLE_DISK_MB else "problem"
        advice = "" if level == "ok" else "recordings take about 2 MB per minute of walking"
        yield Finding("disk", level, f"{free} MB free in this folder", advice)

    def _read(self, path: str) -> str:
        """A file's text, '' if there is none."""
        try:
            return (self._root / path).read_text(encoding="utf-8").strip()
        except OSError:
            return ""


def _numbers(version: str) -> tuple[int, int]:
    """Linux's version, (0, 0) if the text names none."""
    found = re.search(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _effective(status: str, capability: int) -> bool:
    """Whether a process has a capability, by its /proc/<pid>/status."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return os.geteuid() == 0
