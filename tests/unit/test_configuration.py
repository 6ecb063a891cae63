"""Settings validate themselves; every message names field, value and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from demo_control.configuration import ConfigurationError, Settings, parse_assignments, setting


@dataclass(frozen=True)
class Example(Settings):
    rate_hz: float = setting(50.0, "Rate.", minimum=1.0, maximum=1000.0, in_flight=True)
    count: int = setting(3, "Count.", minimum=1)
    kind: str = setting("a", "Kind.", choices=("a", "b"))
    enabled: bool = setting(True, "Switch.")


def test_defaults_and_whole_numbers_for_floats() -> None:
    example = Example(rate_hz=20)
    assert example.rate_hz == 20.0
    assert isinstance(example.rate_hz, float)
    assert example.as_mapping() == {"rate_hz": 20.0, "count": 3, "kind": "a", "enabled": True}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate_hz": 0.5}, r"Example.rate_hz = 0.5: must be between 1 and 1000"),
        ({"rate_hz": float("nan")}, r"Example.rate_hz = nan: must be finite"),
        ({"rate_hz": "fast"}, r"Example.rate_hz = 'fast': expected float, got str"),
        ({"rate_hz": True}, r"expected float, got bool"),
        ({"count": 0}, r"Example.count = 0: must be at least 1"),
        ({"count": 2.0}, r"Example.count = 2.0: expected int, got float"),
        ({"count": True}, r"expected int, got bool"),
        ({"kind": "c"}, r"Example.kind = 'c': must be one of a, b"),
        ({"enabled": 1}, r"Example.enabled = 1: expected bool, got int"),
        ({"rate": 5.0}, r"unknown setting 'rate'; did you mean 'rate_hz'\?"),
        ({"zzz": 5.0}, r"unknown setting 'zzz'; known: rate_hz, count, kind, enabled"),
    ],
)
def test_refuses(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Example.from_mapping(values)


def test_the_source_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^robot.yaml: Example.count = 0"):
        Example.from_mapping({"count": 0}, source="robot.yaml")


def test_a_base_fills_what_is_missing() -> None:
    assert Example.from_mapping({"count": 7}, base=Example(kind="b")) == Example(count=7, kind="b")


def test_entries_describe() -> None:
    entries = {entry.name: entry for entry in Example.entries()}
    assert entries["rate_hz"].type is float
    assert entries["rate_hz"].description.in_flight
    assert not entries["count"].description.in_flight
    assert entries["kind"].description.choices == ("a", "b")


def test_a_field_must_be_declared() -> None:
    @dataclass(frozen=True)
    class Bare(Settings):
        value: int = 3

    with pytest.raises(TypeError, match=r"Bare\.value is not declared"):
        Bare()


def test_assignments() -> None:
    assert parse_assignments(["a=1", "b=2.5", "c=true", "d=word", "e=-1e-3"]) == {
        "a": 1, "b": 2.5, "c": True, "d": "word", "e": -1e-3,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["a", "=1", "a=[1]", "a={", "a=", "a=2020-01-01"])
def test_bad_assignments(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected|cannot read"):
        parse_assignments([text])
