"""Texts that others wrote: values, or one error in one line."""

from __future__ import annotations

import json
import math
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from demo_control.configuration import ConfigurationError, parse_assignments
from demo_control.texts import TextError, load_json, load_yaml, shown

BOMB = "\n".join(
    ["l0: &l0 [x, x, x, x, x, x, x, x, x]"] + [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 9)]
)

BROKEN_YAML = {
    "no YAML": ("a: [1", "expected"),
    "a name twice": ("a: 1\na: 2", "'a' occurs twice"),
    "a name twice inside": ("b: {a: 1, a: 2}", "'a' occurs twice"),
    "no whole number": ("a: !!int ''", "."),
    "no truth": ("a: !!bool maybe", "maybe"),
    "no truth, at length": (f"a: !!bool {'maybe ' * 2000}", "maybe.*…$"),
    "no time": ("a: !!timestamp x", "."),
    "no date": ("a: 2020-99-99", "month"),
    "no digits": ("a: 0x_", "invalid literal"),
    "a number of 20 000 bits": ("a: 0x" + "f" * 5000, "64 bits"),
    "a number of 5000 digits": ("a: " + "9" * 5000, "."),
    "a list as a name": ("? [a, b]\n: 1", "unhashable"),
    "a program": ("!!python/object/apply:os.system [exit]", "could not determine a constructor"),
    "an unknown reference": ("a: *nothing", "undefined alias"),
    "a list in itself": ("a: &a [*a]", "itself|unconstructable"),
    "a mapping in itself": ("a: &a {b: *a}", "itself|unconstructable"),
    "nested deeply": ("[" * 100_000, "."),
    "nested deeply and closed": ("[" * 5000 + "]" * 5000, "."),
    "a few lines that stand for billions of values": (BOMB, "more than 200000 values"),
    "half a pair of UTF-16": ('a: "\\ud800"', "."),
    "a character without meaning": ("a: \x00", "."),
    "a name that cannot be shown": ("ro\xadot: 1", r"the name 'ro\\xadot' has a character"),
    "such a name twice": ("ro\xadot: 1\nro\xadot: 2", r"'ro\\xadot' occurs twice"),
}  # fmt: skip

BROKEN_JSON = {
    "nothing": ("", "Expecting value"),
    "no JSON": ("{", "Expecting"),
    "a name twice": ('{"a": 1, "b": {"c": 1, "c": 1}}', "'c' occurs twice"),
    "NaN": ('{"a": NaN}', "NaN is no number"),
    "infinite": ('{"a": -Infinity}', "-Infinity is no number"),
    "too large": ('{"a": 1e999}', "1e999 is too large"),
    "a number of 400 digits": ("9" * 400, "64 bits"),
    "a number of 5000 digits": ("9" * 5000, "."),
    "nested deeply": ("[" * 100_000, "nested too deeply"),
    "nested deeply and closed": ("[" * 5000 + "]" * 5000, "nested too deeply"),
    "half a pair of UTF-16": ('{"\\ud800": 1}', "surrogates|cannot be shown"),
    "a name of two lines": ('{"a\\nb": 1}', "cannot be shown"),
}

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(string.ascii_letters + " äß€"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(string.ascii_letters), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("name", BROKEN_YAML)
def test_broken_yaml_is_one_error_in_one_line(name: str) -> None:
    text, told = BROKEN_YAML[name]
    with pytest.raises(TextError, match=told) as error:
        load_yaml(text)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", BROKEN_JSON)
def test_broken_json_is_one_error_in_one_line(name: str) -> None:
    text, told = BROKEN_JSON[name]
    with pytest.raises(TextError, match=told) as error:
        load_json(text)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


@given(VALUES)
def test_what_is_in_order_is_read_as_it_was_written(value: object) -> None:
    assert load_json(json.dumps(value)) == value
    assert load_yaml(yaml.safe_dump(value, allow_unicode=True)) == value


def test_yaml_may_have_references_and_what_is_not_finite() -> None:
    read = load_yaml("a: &a {b: 1}\nc: {<<: *a, d: .inf}\ne: [*a, *a]")
    assert read == {"a": {"b": 1}, "c": {"b": 1, "d": math.inf}, "e": [{"b": 1}, {"b": 1}]}


def test_many_names_take_no_longer_than_they_must() -> None:
    # Each name compared with each other would take minutes.
    assert load_yaml("\n".join(f"n{i}: {i}" for i in range(50_000))) == {f"n{i}": i for i in range(50_000)}


def test_a_long_value_is_shown_by_its_beginning() -> None:
    assert shown("short") == "'short'"
    assert shown([0] * 1000) == repr([0] * 1000)[:200] + "…"


@pytest.mark.parametrize("value", ["2020-99-99", "!!int ''", "[" * 3000, "0x" + "f" * 5000])
def test_a_value_on_the_command_line_is_no_traceback(value: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the value"):
        parse_assignments([f"a={value}"])
