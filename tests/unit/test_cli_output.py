"""Results of long runs: refused before where they could not be written, and shown before they are written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from demo_control.bundle import default_bundle
from demo_control.cli.main import app, main
from demo_control.cli.output import one_line_errors
from demo_control.worker_pool import WorkerPool

EVALUATE = ("evaluate", "cartpole", "--controller", "policy", "--episodes", "1", "--jobs", "1")


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.json")


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "cartpole", "--json"),
        ("launch", "cartpole_swingup", "--json"),
        ("doctor", "--json"),
        ("faults", "--json"),
        ("faults", "--table"),
        ("tune", "cartpole", "--json"),
        ("tune", "cartpole", "--out"),
        ("demo", "cartpole", "--json"),
        ("report", "bag", "--out"),
        ("bag", "info", "bag", "--json"),
        ("bag", "repair", "bag", "--json"),
        ("bag", "evaluate", "bag", "--json"),
        ("bag", "compare", "bag", "other", "--json"),
        ("bag", "refit", "bag", "--bundle", "a", "--out", "b", "--json"),
        ("hardware", "check", "wiring.yaml", "--json"),
        ("hardware", "dry-run", "wiring.yaml", "--json"),
    ],
)
def test_a_destination_that_cannot_be_is_refused_before_anything_is_done(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*words, str(tmp_path)])

    assert done.exit_code == 2
    assert done.stderr == f"democtl: {tmp_path}: Is a directory\n"
    assert not list(tmp_path.iterdir())


def test_an_error_that_nobody_expected_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: str) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("sys.argv", ["democtl", "presets"])
    monkeypatch.setattr("demo_control.cli.main._load", broken)
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 70
    assert "RuntimeError: a defect" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["evaluate", "walker"], 2)])
def test_expected_ends_keep_their_codes(words: list[str], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["democtl", *words])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == code


def test_a_worker_that_was_ended_from_outside_is_no_defect(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, one_line_errors(), WorkerPool(1) as pool:
        pool.submit(os._exit, 1).result()

    assert ended.value.exit_code == 2
    assert "was ended from outside (out of memory?)" in capsys.readouterr().err


def test_what_cannot_be_written_was_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("demo_control.cli.output.write_text_atomically", full_disk)
    done = CliRunner().invoke(app, [*EVALUATE, "--json", str(tmp_path / "report.json")])

    assert done.exit_code == 2
    assert "0 of 1" in done.stderr
    assert done.stderr.endswith("democtl: report.json: No space left on device\n")


def test_a_terminal_without_greek_letters_is_written_to_all_the_same() -> None:
    command = [sys.executable, "-m", "demo_control.cli.main", "presets"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="latin-1", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "demo_layer" in done.stdout


@pytest.mark.parametrize("name", ["run[bold]", "run[/red]"])
def test_a_folder_named_like_a_colour_is_shown(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copytree(default_bundle("cartpole"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["bundle", "check", name])

    assert done.exit_code == 0
    assert f"{name}: a valid bundle" in done.stderr
