"""Where ``democtl bench`` finds its scripts, and what it says where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from demo_control.cli import bench
from demo_control.cli.main import app

ROOT = Path(__file__).parents[2]


def source_tree(folder: Path, *scripts: str) -> Path:
    (folder / "ros2_ws" / "src" / "demo_control" / "demo_control").mkdir(parents=True)
    (folder / "benchmarks").mkdir()
    for script in scripts:
        (folder / "benchmarks" / script).write_text("print('run')\n")
    return folder


def test_the_tree_around_the_working_directory_comes_first(tmp_path: Path) -> None:
    tree = source_tree(tmp_path / "tree", "planner_speed.py")
    below = tree / "docs" / "experiments"
    below.mkdir(parents=True)
    assert bench.find_script("planner_speed.py", below) == tree / "benchmarks" / "planner_speed.py"


def test_elsewhere_it_is_the_tree_of_an_editable_installation(tmp_path: Path) -> None:
    if ROOT not in Path(bench.__file__).resolve().parents:
        pytest.skip("the package is not used from its source tree")
    assert bench.find_script("planner_speed.py", tmp_path) == ROOT / "benchmarks" / "planner_speed.py"


def test_a_folder_that_only_looks_alike_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "planner_speed.py").write_text("raise SystemExit('not ours')\n")
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "site-packages" / "demo_control" / "cli" / "bench.py"))
    with pytest.raises(bench.NoBenchmarkError, match="not part of the installed package"):
        bench.find_script("planner_speed.py", tmp_path)


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "installed" / "bench.py"))
    monkeypatch.chdir(tmp_path)
    nowhere = CliRunner().invoke(app, ["bench", "planner"])
    assert nowhere.exit_code == 2
    assert "bench planner: the benchmarks are not part of the installed package" in nowhere.stderr.replace("\n", " ")
    monkeypatch.chdir(source_tree(tmp_path / "tree"))
    incomplete = CliRunner().invoke(app, ["bench", "samples"])
    assert incomplete.exit_code == 2
    assert "sample_efficiency.py is missing" in incomplete.stderr.replace("\n", "")


def test_the_help_names_every_benchmark() -> None:
    shown = CliRunner().invoke(app, ["bench", "--help"])
    assert shown.exit_code == 0
    assert all(name in shown.output for name in bench.BENCHMARKS)
    unknown = CliRunner().invoke(app, ["bench", "speed"])
    assert unknown.exit_code == 2
    assert "No such command 'speed'" in unknown.output


@pytest.mark.parametrize(
    ("module", "work", "words"),
    [
        ("planner_speed", "measure", ()),
        ("learning_speed", "measure", ()),
        ("latency", "_measured", ()),
        ("joins", "run", ()),
        ("soak", "walk", ()),
        ("sample_efficiency", "run_study", ()),
        ("many_recordings", "_copies", ("bag",)),
    ],
)
def test_a_report_that_could_not_be_written_is_refused_before_anything_is_measured(
    module: str, work: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = pytest.importorskip(module, exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr(script, work, lambda *_: pytest.fail("it was begun"))
    app = typer.Typer()
    app.command()(next(getattr(script, name) for name in ("command", "main", "study") if hasattr(script, name)))
    done = CliRunner().invoke(app, [*words, "--json", "file/report.json"])

    assert done.exit_code == 2
    assert done.stderr == f"democtl: {tmp_path / 'file'}: Not a directory\n"
