"""What a process asks of Linux where time matters, and what it gets: scheduling, cores, memory, garbage collection.

Nothing here fails because a machine does not permit it: each request has an outcome, which the nodes tell in their
diagnostics and the run in its figures. Linux only; knows no ROS.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import resource
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from demo_control.configuration import ConfigurationError, Settings, setting
from demo_control.machine import settle_memory

_LIBC = ctypes.CDLL(None, use_errno=True)
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt(3)
_CAP_IPC_LOCK = 14
_LAST_CORE = 8191  # Linux is built for 8192 at most

_background_threads: set[int] = set()
"""Threads of this process that have their own scheduling."""

SLEEP_DEVICE = Path("/dev/cpu_dma_latency")
"""While a process holds it open, Linux uses no sleep state that takes longer to leave than the number written to it."""

_awake: list[int] = []
"""The descriptor of that device, once it is open."""

_REAL_TIME = frozenset({"fifo", "round_robin"})

POLICIES = {"inherit": None, "other": os.SCHED_OTHER, "fifo": os.SCHED_FIFO, "round_robin": os.SCHED_RR}
"""Scheduling policies by name; 'inherit' leaves what the process was started with."""


@dataclass(frozen=True)
class RealTimeSettings(Settings):
    """What a node's process asks of Linux when it becomes active.

    Raises:
        ConfigurationError: See the base; or a list of cores that cannot be read.
    """

    scheduling: str = setting(
        "inherit",
        "Scheduling of all threads: 'fifo' runs them before all ordinary programs, as soon as they can; 'inherit' "
        "leaves what the process was started with.",
        choices=tuple(POLICIES),
    )
    scheduling_priority: int = setting(
        40, "Priority with 'fifo' and 'round_robin'. Linux's own interrupt threads have 50.", minimum=1, maximum=98
    )
    background_priority: int = setting(
        30, "Priority of the planner's thread, which may be late, with the same two.", minimum=1, maximum=98
    )
    cores: str = setting("", "Cores that the process may use, for example 2,3 or 4-7; empty for all.")
    background_cores: str = setting("", "Cores of the planner's thread; empty for those of the process.")
    keep_awake: bool = setting(
        True,
        "With 'fifo' and 'round_robin', keep all cores out of sleep states (/dev/cpu_dma_latency) while the process "
        "runs: they wake up sooner, and take more power.",
    )
    lock_memory: bool = setting(True, "Keep all memory of the process resident (mlockall).")
    reserve_mb: int = setting(
        16, "Megabytes of heap that are touched before the node is active and kept.", minimum=0, maximum=4096
    )
    collect_garbage: bool = setting(
        False,
        "Leave Python's garbage collection to Python. Otherwise it runs once a second, right after an answer, and "
        "what has been loaded before the node is active is never looked at.",
    )

    def __post_init__(self) -> None:
        """Check that the lists of cores can be read."""
        super().__post_init__()
        for name in ("cores", "background_cores"):
            parse_cores(getattr(self, name), f"{type(self).__name__}.{name}")


@dataclass(frozen=True)
class Outcome:
    """What became of one request.

    Attributes:
        text: What the process has now, or would have had.
        refusal: Why it was not granted; '' where it was.
    """

    text: str
    refusal: str = ""


def parse_cores(text: str, name: str = "cores") -> frozenset[int]:
    """Core numbers of a list such as '0,2-4', as Linux writes it; empty for ''.

    Raises:
        ConfigurationError: Not such a list.
    """
    cores: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise ConfigurationError(f"{name} = {text!r}: expected core numbers, for example 2,3 or 4-7")
        if int(last or first) > _LAST_CORE:
            raise ConfigurationError(f"{name} = {text!r}: no core has a number above {_LAST_CORE}")
        cores.update(range(int(first), int(last or first) + 1))
    return frozenset(cores)


def apply(settings: RealTimeSettings) -> tuple[Outcome, ...]:
    """Ask for everything that the settings say, for all threads of this process; nothing raises.

    Call it once everything is loaded and warm, before time matters: loading with this priority would hold up others.
    """
    outcomes = []
    if settings.reserve_mb:
        outcomes.append(_reserve(settings.reserve_mb))
    if settings.lock_memory:
        outcomes.append(_lock_memory())
    if settings.cores:
        outcomes.append(_pin(settings.cores, _threads()))
    if settings.keep_awake and settings.scheduling in _REAL_TIME:
        outcomes.append(_keep_awake())
    if POLICIES[settings.scheduling] is not None:
        outcomes.append(_schedule(settings.scheduling, settings.scheduling_priority, _threads()))
    return tuple(outcomes)


def apply_to_background(settings: RealTimeSettings) -> tuple[Outcome, ...]:
    """Ask for the calling thread what the settings say of those that may be late; nothing raises."""
    _background_threads.add(threading.get_native_id())
    outcomes = []
    if settings.background_cores:
        outcomes.append(_pin(settings.background_cores, [0]))
    if settings.scheduling in _REAL_TIME:
        outcomes.append(_schedule(settings.scheduling, settings.background_priority, [0]))
    return tuple(outcomes)


def may_lock_memory() -> str:
    """Why this process had better not lock all its memory, or ''.

    With a limit, a lock of what will come makes allocations fail later, in the middle of the run.
    """
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit == resource.RLIM_INFINITY or _has_capability(_CAP_IPC_LOCK):
        return ""
    return f"memlock limit {limit >> 10} KiB: needs 'unlimited' in /etc/security/limits.conf, or CAP_IPC_LOCK"


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _threads() -> list[int]:
    """All threads of this process but those in the background."""
    threads = {int(name) for name in os.listdir("/proc/self/task")}
    _background_threads.intersection_update(threads)
    return sorted(threads - _background_threads)


def _schedule(name: str, priority: int, threads: list[int]) -> Outcome:
    """Set scheduling policy and priority of some threads of this process (0: the calling one)."""
    policy = POLICIES[name]
    assert policy is not None
    level = priority if name in _REAL_TIME else 0
    text = f"{name} {level}" if level else name
    for thread in threads:
        try:
            os.sched_setscheduler(thread, policy, os.sched_param(level))
        except ProcessLookupError:
            continue  # the thread has ended meanwhile
        except OSError as error:
            return Outcome(
                text, f"{error.strerror}: needs an rtprio limit in /etc/security/limits.conf, or CAP_SYS_NICE"
            )
    return Outcome(text)


def _pin(cores: str, threads: list[int]) -> Outcome:
    """Set the cores of some threads of this process (0: the calling one)."""
    text = f"cores {cores}"
    for thread in threads:
        try:
            os.sched_setaffinity(thread, parse_cores(cores))
        except ProcessLookupError:
            continue
        except OSError as error:
            return Outcome(text, f"{error.strerror}: the machine has cores {_core_list()}")
    return Outcome(text)


def _core_list() -> str:
    return Path("/sys/devices/system/cpu/online").read_text(encoding="utf-8").strip()


def may_keep_awake(device: Path = SLEEP_DEVICE) -> str:
    """Why this process may not keep the cores awake, or ''."""
    if not device.exists():
        return f"no {device}: this kernel does not offer it"
    return "" if os.access(device, os.W_OK) else f"{device} is not writable: needs a udev rule for the group realtime"


def _keep_awake() -> Outcome:
    """Hold the device open for as long as the process lives."""
    text = "cores kept awake"
    if _awake:
        return Outcome(text)
    problem = may_keep_awake()
    if problem:
        return Outcome(text, problem)
    try:
        descriptor = os.open(SLEEP_DEVICE, os.O_WRONLY)
        os.write(descriptor, struct.pack("i", 0))
        _awake.append(descriptor)
    except OSError as error:
        return Outcome(text, f"{SLEEP_DEVICE}: {error.strerror}")
    return Outcome(text)


def _lock_memory() -> Outcome:
    """Keep resident what is mapped, and what will be from its first touch on."""
    text, problem = "memory locked", may_lock_memory()
    if problem:
        return Outcome(text, problem)
    # Without ONFAULT, the whole stack of each thread to come (8 MB) would be taken at once.
    if _LIBC.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return Outcome(text, os.strerror(ctypes.get_errno()))
    return Outcome(text)


def _reserve(megabytes: int) -> Outcome:
    """Touch heap and give it back to malloc, which is told to keep it: later allocations fault no pages in."""
    text = f"{megabytes} MB of heap reserved"
    if not (hasattr(_LIBC, "mallopt") and _LIBC.mallopt(_M_TRIM_THRESHOLD, -1) and _LIBC.mallopt(_M_MMAP_MAX, 0)):
        return Outcome(text, "the C library has no mallopt")
    _LIBC.malloc.restype = ctypes.c_void_p
    size = megabytes << 20
    block = _LIBC.malloc(ctypes.c_size_t(size))
    if block is None:
        return Outcome(text, os.strerror(errno.ENOMEM))
    ctypes.memset(block, 1, size)
    _LIBC.free(ctypes.c_void_p(block))
    return Outcome(text)


def settle(*, collect_garbage: bool) -> None:
    """Spare what has been loaded from garbage collection, for good; looking through it takes tens of milliseconds.

    Args:
        collect_garbage: Whether Python goes on to collect when it likes; otherwise only a :class:`Tidier` does.
    """
    settle_memory()
    if not collect_garbage:
        gc.disable()


class Tidier:
    """Collects garbage where Python does not: once a second, when nobody waits, and never for long.

    What was there at :func:`settle` is not looked at. Should the rest take longer than the budget, what has survived
    is from then on not looked at either.
    """

    period_s = 1.0
    budget_s = 0.002

    def __init__(self) -> None:
        self.worst_s = 0.0
        self.runs = 0
        self._next_s = time.monotonic() + self.period_s

    def tidy(self) -> None:
        """Collect if it is time; call it when nobody waits."""
        now_s = time.monotonic()
        if gc.isenabled() or now_s < self._next_s:
            return
        self._next_s = now_s + self.period_s
        started_s = time.perf_counter()
        gc.collect()
        took_s = time.perf_counter() - started_s
        self.runs += 1
        self.worst_s = max(self.worst_s, took_s)
        if took_s > self.budget_s:
            gc.freeze()
