"""How long a machine stood still: found by a process of its own, and not known where that may not be."""

from __future__ import annotations

import io

import pytest

from demo_control import standstill
from demo_control.standstill import Standstills, StandstillWatch, answer


def test_short_standstills_count_only_as_the_longest() -> None:
    found = Standstills(((1.0, 1.004), (2.0, 2.099), (2.09, 2.096)))

    assert found.longest_ms == pytest.approx(99.0)
    assert found.number == 2
    assert found.total_ms == pytest.approx(105.0)
    assert Standstills(((1.0, 1.00475),)).number == 0
    assert Standstills().longest_ms == 0.0


def test_cores_that_stand_still_at_once_count_once() -> None:
    found = Standstills(((4.0, 5.0), (1.0, 2.0), (1.5, 2.5), (1.6, 1.7)))

    assert found.within_s(0.0, 10.0) == pytest.approx(2.5)
    assert found.seconds == pytest.approx(2.5)
    assert found.within_s(1.75, 4.25) == pytest.approx(1.0)
    assert found.within_s(2.6, 3.9) == 0.0


def test_a_process_looks_until_the_watch_is_over(priority_permitted: bool) -> None:
    with StandstillWatch() as watch:
        process = watch._process
        assert process is not None
        found = watch.take()
        assert (found is not None) == priority_permitted
        if found is not None:
            assert found.longest_ms >= 0.0
            assert found.total_ms >= standstill.LONG_MS * found.number
    assert process.returncode == 0
    assert watch.take() is None


def test_a_watch_whose_process_died_knows_nothing() -> None:
    with StandstillWatch() as watch:
        assert watch._process is not None
        watch._process.kill()
        watch._process.wait()
        assert watch.take() is None
        assert watch.take() is None


def test_without_permission_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(standstill.os, "sched_setscheduler", refuse)
    answers = io.StringIO()
    answer(io.StringIO("\n\n"), answers)
    assert answers.getvalue() == ""


def test_a_standstill_is_found_on_its_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of which each sleep takes as long as it should, the third one 0.25 s more."""
    pinned: list[set[int]] = []
    sleeps, now_s = 0, 10.0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now_s

        @staticmethod
        def sleep(seconds: float) -> None:
            nonlocal sleeps, now_s
            sleeps += 1
            now_s += seconds + (0.25 if sleeps == 3 else 0.0)

    class Over:
        @staticmethod
        def is_set() -> bool:
            return sleeps == 10

    monkeypatch.setattr(standstill, "time", Clock)
    monkeypatch.setattr(standstill.os, "sched_setaffinity", lambda _, cores: pinned.append(cores))
    core = standstill._Core(1)
    core.watch(Over())  # type: ignore[arg-type]

    [(begin_s, end_s)] = core.take()
    assert end_s - begin_s == pytest.approx(0.25)
    assert pinned == [{1}]
    assert core.take() == []
