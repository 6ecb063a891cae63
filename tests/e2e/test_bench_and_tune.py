"""Benchmarks and tuning, called as a user calls them; small ones, and no times are judged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo_control.bringup.description import load_recipe
from demo_control.layer import LayerSettings
from demo_control.rollout.native.library import installed_kernel
from demo_control.tasks import load_task

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "demo_control.cli.main"]
DEADLINE_S = 100.0
ENGINES = {"native", "onnx", "native_plan", "onnx_plan", "numpy"}


def democtl(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False, cwd=folder
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


needs_kernel = pytest.mark.skipif(installed_kernel() is None, reason="the native engine was not built here")


@needs_kernel
def test_the_planner_benchmark_reports_all_it_should() -> None:
    done = democtl(
        "bench", "planner", "--case", "b3,ensemble,cartpole", "--rounds", "1", "--plans", "100", "--json", "-"
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["peak_gflops"] > 0.0
    assert set(report["cases"]) == {"b3", "ensemble", "cartpole"}
    for name, case in report["cases"].items():
        assert case["limit_ms"] == pytest.approx(1e3 * case["gflop"] / case["peak_gflops"])
        assert case["peak_gflops"] <= report["peak_gflops"]
        engines = case["engines"]
        assert set(engines) >= (ENGINES - {"numpy"} if name == "cartpole" else ENGINES)
        for figures in engines.values():
            assert figures["times_limit"] == pytest.approx(figures["median_ms"] / case["limit_ms"])
            assert figures["difference"] <= report["maximum_difference"] == 1e-5
    peers = {"torch": {"torch_eager"}, "pytorch_mppi": {"torch_eager", "pytorch_mppi"}}
    for package, engines in peers.items():
        there = report["versions"][package] is not None
        assert (package in report["absent"]) is not there
        assert not there or engines <= set(report["cases"]["b3"]["engines"])
    if report["versions"]["mbrl"] is not None:
        assert {"mbrl_evaluation", "mbrl_cem"} <= set(report["cases"]["ensemble"]["engines"])
    else:
        assert "--no-deps" in report["absent"]["mbrl"]
    assert set(report["planner_overhead"]["b3"]) == {"native", "onnx"}
    assert report["jitter"]["plans"] == 100
    for case in report["jitter"]["cases"].values():
        for kind in ("quiet", "busy", "busy_resting"):
            figures = case[kind]
            assert 0.0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["p99_9_ms"] <= figures["max_ms"]
    assert report["two_threads"] is None  # b2 is not among the cases
    assert {bar["figure"] for bar in report["bars"]} >= {"a1: plans' p99 / p50, quiet"}


def test_the_learning_benchmark_reports_all_it_should() -> None:
    done = democtl("bench", "learning", "--rounds", "1", "--json", "-")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    there = {name: report["versions"][name] is not None for name in ("torch", "stable_baselines3", "mbrl")}
    assert all((name in report["absent"]) is not there[name] for name in there)
    expected = {
        "sac_updates_per_s": {"torch": {"ours", "autograd"}, "stable_baselines3": {"stable_baselines3"}},
        "ensemble_epoch_s": {"torch": {"ours"}, "mbrl": {"mbrl"}},
        "env_steps_per_s": {None: {"ours", "gymnasium"}},
    }
    for key, contenders in expected.items():
        assert all(value > 0.0 for value in report[key].values())
        for package, names in contenders.items():
            assert not there.get(package, True) or names <= set(report[key])
    assert report["differences"]["environments"]["gymnasium"] <= 1e-9
    assert not there["torch"] or report["differences"]["sac"]["autograd"] <= 1e-4
    assert "environment steps against Gymnasium" in {bar["figure"] for bar in report["bars"]}
    assert all(bar["holds"] == (bar["value"] >= bar["bound"]) for bar in report["bars"])


def test_a_benchmark_without_its_peers_runs_all_the_same(tmp_path: Path) -> None:
    """Packages that cannot be imported; their place on the path is before the real ones'."""
    for name in ("stable_baselines3", "mbrl", "torch"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    command = [*COMMAND, "bench", "learning", "--case", "sac,ensemble", "--rounds", "1", "--json", "-"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE_S, check=False, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report["absent"]) == {"torch", "stable_baselines3", "mbrl"}
    assert "--no-deps" in report["absent"]["mbrl"]
    assert report["bars"] == []


def test_unknown_cases_of_learning_are_one_line() -> None:
    refused = democtl("bench", "learning", "--case", "dreams")
    assert refused.returncode == 2
    assert "case = 'dreams': must be one of sac, ensemble, environments" in refused.stderr


@needs_kernel
def test_the_planner_benchmark_on_two_threads(tmp_path: Path) -> None:
    file = tmp_path / "new" / "speed.json"
    done = democtl("bench", "planner", "--case", "b2", "--rounds", "1", "--no-jitter", "--json", str(file))
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text())
    assert report["jitter"] is None
    if len(os.sched_getaffinity(0)) > 1:
        assert set(report["two_threads"]["engines"]) == {"native", "onnx"}
        limit_ms = 1e3 * report["cases"]["b2"]["gflop"] / report["two_threads"]["peak_gflops"] / 2
        assert report["two_threads"]["limit_ms"] == pytest.approx(limit_ms)
    assert "slower" in done.stdout
    drawing = [sys.executable, str(ROOT / "benchmarks" / "planner_figures.py"), str(file)]
    subprocess.run(drawing, check=True, timeout=DEADLINE_S)
    assert "| native |" in file.with_name("speed_table.md").read_text()
    assert file.with_suffix(".png").stat().st_size > 0


def test_the_scripts_own_help_and_errors_come_through() -> None:
    shown = democtl("bench", "planner", "--help", folder=ROOT / "docs")
    assert shown.returncode == 0
    assert "democtl bench planner" in shown.stdout
    assert "--rounds" in shown.stdout
    for arguments, text in (
        (("--case", "b9"), "case 'b9': must be one of a1, a2"),
        (("--rounds", "0"), "Invalid value for '--rounds'"),
        (("--fast",), "No such option"),
    ):
        refused = democtl("bench", "planner", *arguments)
        assert refused.returncode == 2
        assert text in refused.stderr


@needs_kernel
def test_an_interrupted_benchmark_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    command = [*COMMAND, "bench", "planner", "--case", "b2", "--rounds", "100000", "--no-jitter", "--json", str(file)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: "_kernel" in Path(f"/proc/{process.pid}/maps").read_text())  # it has come to measuring
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_tuned_task_launches_with_the_file(tmp_path: Path) -> None:
    file, told = tmp_path / "tuned.yaml", tmp_path / "tuned.json"
    arguments = ("--period-ms", "10000", "--maximum-samples", "64", "--plans", "20", "--set", "step_size=0.5")
    done = democtl("tune", "cartpole", *arguments, "--out", str(file), "--json", str(told))
    assert done.returncode == 0, done.stderr
    assert "set plan_period_ticks as well" in done.stderr
    report = json.loads(told.read_text())
    assert report["holds"]
    assert report["deadline_ms"] == 8000.0
    assert {"engine", "engine_threads", "horizon", "num_samples", "p50_ms", "quantile_ms"} <= set(report["proposal"])
    parameters = yaml.safe_load(file.read_text())["demo_layer_node"]["ros__parameters"]
    assert parameters["num_samples"] == 64
    assert parameters["engine_threads"] == 1
    assert parameters["step_size"] == 0.5
    LayerSettings.for_task(load_task("cartpole"), parameters)
    recipe = load_recipe("cartpole_swingup")
    nodes = recipe.make(recipe.arguments(parameters=str(file))).nodes
    (layer,) = (node for node in nodes if node.name == "demo_layer_node")
    assert layer.parameters["num_samples"] == 64


def test_without_a_file_the_parameters_go_to_standard_output() -> None:
    done = democtl("tune", "cartpole", "--period-ms", "10000", "--maximum-samples", "32", "--plans", "20")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["demo_layer_node"]["ros__parameters"]["num_samples"] == 32


@pytest.mark.real_time
def test_a_deadline_that_nothing_keeps_is_told(tmp_path: Path) -> None:
    file = tmp_path / "tuned.yaml"
    done = democtl("tune", "cartpole", "--period-ms", "0.1", "--share", "0.1", "--out", str(file), "--json", "-")
    assert done.returncode == 1
    assert "nothing keeps to 0.01 ms here; the fastest was 32 samples × 5 steps" in done.stderr
    assert not file.exists()
    report = json.loads(done.stdout)
    assert report["proposal"] is None
    assert report["fastest"]["quantile_ms"] > 0.01


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("walker",), "task 'walker' is not installed"),
        (("cartpole", "--period-ms", "-3"), "period_ms = -3.0: must be between 0.1 and 60000"),
        (("cartpole", "--period-ms", "nan"), "period_ms = nan: must be finite"),
        (("cartpole", "--period-ms", "soon"), "Invalid value for '--period-ms'"),
        (("cartpole", "--share", "2"), "share = 2.0: must be between"),
        (("cartpole", "--engine", "gpu"), "engine = 'gpu': must be one of auto, native, onnx"),
        (("cartpole", "--threads", "9999"), "threads = 9999: must be at most"),
        (("cartpole", "--set", "horizn=3"), "did you mean 'horizon'?"),
        (("cartpole", "--bundle", "nowhere"), "bundle directory 'nowhere' does not exist"),
    ],
)
def test_requests_that_cannot_be_met_are_one_line(arguments: tuple[str, ...], text: str) -> None:
    refused = democtl("tune", *arguments)
    assert refused.returncode == 2
    assert text in refused.stderr
    assert "Traceback" not in refused.stderr
