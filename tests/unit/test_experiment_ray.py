"""The same runs over a Ray cluster of two nodes, both on this machine."""

import json
import os
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from demo_control.experiments import training
from demo_control.experiments.progress import RunProgress
from demo_control.experiments.run import Folders, Outcome, run_experiment
from demo_control.experiments.spec import read_experiment

ray = pytest.importorskip("ray", reason="Ray is optional: pip install 'demo-stack[ray]'")

from ray.cluster_utils import Cluster  # noqa: E402 - only where Ray is installed

from demo_control.experiments.ray_cluster import connect  # noqa: E402

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        # The nodes' workers are new processes with the environment of now.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


def run(folder: Path, address: str, methods: object, limit_s: float | None = None, seeds: int = 2) -> Outcome:
    fields = {"environments": ["A"], "steps": 800, "seeds": seeds, "evaluation": {"every_steps": 100}}
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump({**fields, "methods": methods}))
    pool, jobs = connect(address, None)
    assert jobs == 2
    folders = Folders(folder, folder, with_logs=False)
    progress = RunProgress(Console(file=StringIO()))
    return run_experiment(read_experiment(path).cells(), folders, path.read_text(), pool, jobs, progress, limit_s)


def test_runs_on_a_cluster_are_the_same_runs(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.TRAINERS, "model_based", "experiment_toy:train")
    methods = {"good": None, "bad": {"settings": {"toy.fails_at": 300}}}
    outcome = run(tmp_path, cluster.address, methods)
    assert (outcome.finished, outcome.left) == (2, 0)
    assert outcome.failed["A bad seed 1"] == "RuntimeError: the toy fell over"
    content = json.loads((tmp_path / "results" / "A--good--seed-1.json").read_text())
    assert content["records"]["evaluation"]["step"][-1] == 800


def test_a_session_on_a_cluster_is_interrupted_and_goes_on(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(training.TRAINERS, "model_based", "experiment_toy:train")
    methods = {"slow": {"settings": {"toy.pause_s": 0.6}}}
    outcome = run(tmp_path, cluster.address, methods, limit_s=3.0, seeds=1)
    assert (outcome.late, outcome.left) == (True, 1)
    outcome = run(tmp_path, cluster.address, methods, seeds=1)
    assert (outcome.finished, outcome.left) == (1, 0)
    requests = json.loads((tmp_path / "runs" / "A--slow--seed-0" / "request.json").read_text())
    assert len(requests["revisions"]) == 1
