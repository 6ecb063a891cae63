"""The loops of a driver: in real time, and in lockstep with the answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from demo_control.drivers import running

MS = 1_000_000
PERIOD_NS = 20 * MS


class ScriptedDriver:
    """A driver that notes what the loops do with it."""

    def __init__(self, length: int, answers: bool = True) -> None:
        self.answer_limit_s = 0.01
        self.tick = 0
        self.answered = -1
        self.missed = 0
        self.calls: list[int] = []
        self.lead_ns = PERIOD_NS // 4
        self.is_settled = False
        self.prepared: list[int] = []
        self._now_ns: Callable[[], int] = lambda: 0
        self._length = length
        self._answers = answers

    def start(self, now_ns: Callable[[], int]) -> None:
        assert now_ns() >= 0
        self._now_ns = now_ns

    def prepare(self) -> None:
        before_ns = (self.tick + 1) * PERIOD_NS - self._now_ns()
        assert 0 < before_ns <= (PERIOD_NS if self.is_settled else self.lead_ns)
        self.prepared.append(self.tick + 1)

    def spin(self, _timeout_s: float) -> None:
        if self._answers:
            self.answered = self.tick

    def advance(self, ticks: int, lateness_s: float) -> bool:
        assert lateness_s >= 0.0
        self.tick += ticks
        self.calls.append(ticks)
        return self.tick < self._length

    def miss_answer(self) -> None:
        self.missed += 1


class NoStop(running.StopRequest):
    """Leaves the signals alone."""

    def __init__(self) -> None:
        self._requested = False


def test_lockstep_goes_on_with_each_answer() -> None:
    driver = ScriptedDriver(50)
    running.run_in_lockstep(driver, driver.spin, NoStop(), PERIOD_NS)
    assert driver.calls == [1] * 50
    assert driver.missed == 0


def test_lockstep_goes_on_without_an_answer_after_the_limit() -> None:
    driver = ScriptedDriver(2, answers=False)
    running.run_in_lockstep(driver, driver.spin, NoStop(), PERIOD_NS)
    assert driver.missed == 2


def test_the_paced_loop_simulates_every_period_however_slow_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]

    def spin(timeout_s: float) -> None:
        now[0] += round(timeout_s * 1e9) + (45 * MS if 200 * MS < now[0] < 300 * MS else 0)

    monkeypatch.setattr(running.time, "monotonic_ns", lambda: now[0])
    driver = ScriptedDriver(50)
    running.run_paced(driver, spin, NoStop(), PERIOD_NS, 1.0)
    assert driver.tick == 50
    assert max(driver.calls) == 3
    # What there was time for was done before it was due, once.
    assert len(driver.prepared) == len(set(driver.prepared))
    assert 40 < len(driver.prepared) < 50
    assert now[0] == 50 * PERIOD_NS


def test_a_settled_period_is_simulated_once_the_loop_has_listened(monkeypatch: pytest.MonkeyPatch) -> None:
    now, spun = [0], []
    driver = ScriptedDriver(10)

    def spin(timeout_s: float) -> None:
        spun.append((driver.tick, now[0]))
        # The command takes a millisecond to come where the loop waits for it.
        now[0] += MS if timeout_s and not driver.is_settled else round(timeout_s * 1e9)
        driver.is_settled = driver.tick != 5  # whose command is late

    def prepare() -> None:
        ScriptedDriver.prepare(driver)
        prepared[driver.tick] = now[0] - driver.tick * PERIOD_NS
        now[0] += MS

    prepared: dict[int, int] = {}
    monkeypatch.setattr(running.time, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(driver, "prepare", prepare)
    running.run_paced(driver, spin, NoStop(), PERIOD_NS, 1.0)
    assert {tick for tick, _ in spun} == set(range(10))
    late = prepared.pop(5)
    assert PERIOD_NS - driver.lead_ns <= late < PERIOD_NS
    assert set(prepared.values()) <= {0, MS}


def test_a_command_that_comes_during_the_work_before_a_tick_is_heard_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = [0], []
    driver = ScriptedDriver(5)

    def spin(timeout_s: float) -> None:
        order.append("spin")
        now[0] += round(timeout_s * 1e9)

    def prepare() -> None:
        order.append("prepare")
        now[0] += driver.lead_ns + MS

    def advance(ticks: int, lateness_s: float) -> bool:
        order.append("advance")
        return ScriptedDriver.advance(driver, ticks, lateness_s)

    monkeypatch.setattr(running.time, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(driver, "prepare", prepare)
    monkeypatch.setattr(driver, "advance", advance)
    running.run_paced(driver, spin, NoStop(), PERIOD_NS, 1.0)
    assert order == ["spin", "prepare", "spin", "advance"] * 5
