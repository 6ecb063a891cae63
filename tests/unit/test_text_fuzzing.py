"""Some of the inputs of benchmarks/text_fuzzing.py, and that it finds what it looks for."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from text_fuzzing import Kind, RuleError, changed, check, kinds, run

from demo_control.configuration import ConfigurationError


@pytest.mark.parametrize("name", ["contract", "wiring", "experiment", "parameters", "metadata"])
def test_broken_texts_are_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    report = run(name, kinds(tmp_path)[name], 100, seed=1)

    assert 0 < int(str(report["read"])) <= 100


def test_the_same_seed_makes_the_same_inputs(tmp_path: Path) -> None:
    kind = kinds(tmp_path)["contract"]

    first, again, other = ([changed(generator, kind) for _ in range(20)] for generator in map(random.Random, (7, 7, 8)))
    assert first == again != other


@pytest.mark.parametrize("message", ["two\nlines", "x" * 5000])
def test_a_message_that_nobody_can_read_breaks_the_rules(message: str) -> None:
    def read(_text: str) -> None:
        raise ConfigurationError(message)

    with pytest.raises(RuleError, match="characters"):
        check(Kind([""], (), read), "")


def test_any_other_exception_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_text: str) -> None:
        raise KeyError("name")

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run("broken", Kind(["a: 1"], ("2",), read), 10, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["broken-0-0.txt"]
