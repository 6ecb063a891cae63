"""Runs the cases one after the other, several in one bring-up, and keeps each case's result as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from demo_control.bringup.run import BringUpError, RunInterruptedError, Signals, claimed_domain
from demo_control.bringup.supervisor import prepare_environment
from demo_control.faults.judge import judge
from demo_control.faults.programs import NotPermittedError
from demo_control.faults.rig import Rig
from demo_control.faults.table import GOES_ON, PUSHED, RELEASE, STOPPING, STOPS, Case
from demo_control.files import write_text_atomically
from demo_control.security.environment import refuse_secured
from demo_control.standstill import StandstillWatch

_BEFORE = 30
"""Outputs before the fault that are judged with it."""
_IN_FLIGHT_S = 0.03
_RECOVERY_S = 10.0
_FIRST_DOMAIN, _LAST_DOMAIN = 60, 100


@dataclass(frozen=True)
class Campaign:
    """What is run.

    Attributes:
        cases: In order.
        folder: Where results are kept, one file per case.
        seed: Of everything random.
        tell: Told each case's name and result.
    """

    cases: Sequence[Case]
    folder: Path
    seed: int
    tell: Callable[[Case, dict[str, Any]], None]

    def run(self) -> list[dict[str, Any]]:
        """Run what has no result yet; all results, in order.

        Raises:
            RunInterruptedError: SIGINT or SIGTERM came; what was finished is kept.
            ConfigurationError: The environment asks for security, which would keep out what is to be tried.
        """
        refuse_secured("the fault campaign")
        prepare_environment()
        with Signals() as signals, _own_domain(), StandstillWatch() as watch:

            def check() -> None:
                if signals.received:
                    raise RunInterruptedError("interrupted")

            for (task, pushed), group in groupby(self._missing(), lambda case: (case.task, case.phase == PUSHED)):
                self._run_group(task, pushed, list(group), check, watch)
        return [result for case in self.cases if (result := self._kept(case)) is not None]

    @property
    def finished(self) -> int:
        """Cases that have a result."""
        return len(self.cases) - len(self._missing())

    def _missing(self) -> list[Case]:
        return [case for case in self.cases if self._kept(case) is None]

    def _path(self, case: Case) -> Path:
        return self.folder / f"{case.name}.json"

    def _kept(self, case: Case) -> dict[str, Any] | None:
        try:
            result: dict[str, Any] = json.loads(self._path(case).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return result if result.get("seed") == self.seed else None

    def _run_group(
        self, task: str, pushed: bool, group: list[Case], check: Callable[[], None], watch: StandstillWatch
    ) -> None:
        """Cases of one bring-up; where the rig itself does not come back, the rest gets a new one."""
        while group:
            with Rig(task, self.seed, pushed=pushed, check=check) as rig:
                while group:
                    case = group.pop(0)
                    watch.take()
                    result, is_sound = _run_case(rig, case)
                    found = watch.take()
                    stall_ms = None if found is None else round(found.longest_ms, 1)
                    result |= {"seed": self.seed, "load": round(os.getloadavg()[0], 1), "machine_stall_ms": stall_ms}
                    write_text_atomically(self._path(case), json.dumps(result, indent=2) + "\n")
                    self.tell(case, result)
                    if not is_sound:
                        break


def _run_case(rig: Rig, case: Case) -> tuple[dict[str, Any], bool]:
    """One case: its result, and whether the rig can go on."""
    fault = case.fault
    about = {"task": case.task, "phase": case.phase, "fault": fault.name, "text": fault.text}
    rig.problems.clear()
    is_sound, skipped = True, ""
    start = injected_at = undone_at = rig.outputs_until_now()
    try:
        rig.prepare(case.phase)
        injected_at = undone_at = rig.outputs_until_now()
        start = max(0, injected_at - _BEFORE)
        fault.inject(rig)
        if case.phase == RELEASE:
            rig.open_gate()
        rig.spin_for(fault.hold_s)
        rig.spin_for(_IN_FLIGHT_S)
        undone_at = rig.outputs_until_now()
        fault.undo(rig)
        rig.open_gate()
        rig.wait_until(lambda: rig.commanded(undone_at) or bool(rig.latched), "recovery", _RECOVERY_S)
    except NotPermittedError as error:
        skipped = str(error)
    except TimeoutError as error:
        is_sound = False
        rig.problems.append(str(error))
    log = rig.log[start:]
    expected = _expected(case)
    verdict = judge(
        log,
        rig.bounds,
        expected,
        undone_at - start,
        injected_at=injected_at - start,
        recovered=is_sound and not rig.latched,
        latched=rig.latched,
        may_latch=case.fault.may_latch,
    )
    verdict.failures += rig.problems
    if skipped:
        return {**about, "skipped": skipped}, True
    return {**about, **asdict(verdict), "limit_ms": round(1e3 * rig.bounds.safe_limit_s, 3)}, is_sound


def _expected(case: Case) -> str:
    """What must come of a case: before the release and while stopping, there is nothing to go on or to stop."""
    expected = case.fault.expected
    if case.phase in (RELEASE, STOPPING) and expected in (GOES_ON, STOPS):
        return "either"
    return expected


def _own_domain() -> Any:  # noqa: ANN401 - a context manager
    """Claim the user's ROS domain, or else one that no bring-up of ours uses."""
    if os.environ.get("ROS_DOMAIN_ID"):
        return claimed_domain()
    for domain in range(_FIRST_DOMAIN, _LAST_DOMAIN):
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        claim = claimed_domain()
        try:
            claim.__enter__()
        except BringUpError:
            continue
        claim.__exit__(None, None, None)
        return claimed_domain()
    raise BringUpError(f"all ROS domains from {_FIRST_DOMAIN} to {_LAST_DOMAIN - 1} are in use")
