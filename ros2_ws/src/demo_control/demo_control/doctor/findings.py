"""One thing that was looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

LEVELS = ("ok", "warning", "problem")
"""From the best to the worst: 'problem' means that something will not hold."""


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it.

    Attributes:
        topic: What was looked at, in a few words.
        level: One of :data:`LEVELS`.
        text: What was found.
        advice: What to change, in one line; '' where nothing needs to be.
    """

    topic: str
    level: str
    text: str
    advice: str = ""

    def as_mapping(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def worst_level(findings: Iterable[Finding]) -> str:
    """The worst level among findings; 'ok' without any."""
    return max((finding.level for finding in findings), key=LEVELS.index, default="ok")


Check = Callable[[], Iterator[Finding]]
"""Looks at one thing, or several that belong together."""


def run_checks(checks: Iterable[tuple[str, Check]]) -> list[Finding]:
    """The findings of all checks; one that fails is a finding itself, as machines differ.

    Args:
        checks: Topic and check.
    """
    findings: list[Finding] = []
    for topic, check in checks:
        try:
            findings += check()
        except Exception as error:  # the others still say something
            findings.append(Finding(topic, "warning", f"cannot be found out: {type(error).__name__}: {error}"))
    return findings
