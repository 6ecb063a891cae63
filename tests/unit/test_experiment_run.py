"""Running experiments: over processes, resumed after any interruption, whatever happens to a run."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from rich.console import Console

from demo_control.configuration import ConfigurationError
from demo_control.experiments import training, worker
from demo_control.experiments.journal import Journal, read_journal
from demo_control.experiments.local import run_locally
from demo_control.experiments.progress import Pace, RunProgress, duration
from demo_control.experiments.results import CellResult, read_result, result_text
from demo_control.experiments.run import Folders, Outcome, run_experiment
from demo_control.experiments.spec import Cell, Experiment, read_experiment
from demo_control.experiments.study import load_study, states
from demo_control.experiments.training import EvaluationSettings, Record, RunRequest

HERE = Path(__file__).parent
SPECIFICATION: dict[str, Any] = {
    "environments": ["A"],
    "steps": 800,
    "seeds": 2,
    "evaluation": {"every_steps": 100},
    "methods": {"slow": None, "quick": {"settings": {"toy.rate": 2.0}}},
}
COMMAND = (
    "from demo_control.experiments.training import TRAINERS; TRAINERS['model_based'] = 'experiment_toy:train'; "
    "from demo_control.cli.main import main; main()"
)


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.TRAINERS, "model_based", "experiment_toy:train")
    monkeypatch.syspath_prepend(str(HERE))  # spawned processes get it, too


def write(folder: Path, **changes: Any) -> Path:  # noqa: ANN401 - any field
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump({**SPECIFICATION, **changes}, sort_keys=False))
    return path


def run(folder: Path, specification: Path, jobs: int = 2, limit_s: float | None = None) -> tuple[Outcome, str]:
    """Run it; how it ended and what was printed."""
    experiment, text = read_experiment(specification), StringIO()
    outcome = run_experiment(
        experiment.cells(), Folders(folder, folder, with_logs=False), specification.read_text(),
        lambda works: run_locally(works, jobs), jobs, RunProgress(Console(file=text)), limit_s,
    )  # fmt: skip
    return outcome, text.getvalue()


def records(folder: Path) -> dict[str, object]:
    """What the results of a study's runs have of the runs themselves."""
    return {path.name: json.loads(path.read_text())["records"] for path in (folder / "results").glob("*.json")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The records of a study that nobody interrupted."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.TRAINERS, "model_based", "experiment_toy:train")
        patch.syspath_prepend(str(HERE))
        outcome, _ = run(folder, write(folder))
    assert (outcome.finished, outcome.left) == (4, 0)
    return records(folder)


def start(folder: Path, specification: Path) -> "subprocess.Popen[str]":
    """The command as a user gives it."""
    arguments = ["experiment", "run", str(specification), "--out", str(folder), "--jobs", "2", "--no-logs"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )


def wait_for(folder: Path, count: int = 1, deadline_s: float = 30.0) -> None:
    """Until so many runs have told of some evaluations."""
    end_s = time.monotonic() + deadline_s
    while sum(len(read_journal(run)) >= 9 for run in (folder / "runs").glob("*")) < count:
        assert time.monotonic() < end_s, "the runs do not begin"
        time.sleep(0.02)


def test_finished_runs_are_kept_and_more_are_added(tmp_path: Path, uninterrupted: dict[str, object]) -> None:
    outcome, text = run(tmp_path, write(tmp_path, seeds=1))
    assert (outcome.present, outcome.finished, outcome.failed) == (0, 2, {})
    assert "A slow seed 0: return 999.8" in text or "A slow seed 0: return 100" in text
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}
    outcome, _ = run(tmp_path, write(tmp_path))
    assert (outcome.present, outcome.finished) == (2, 2)
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    assert records(tmp_path) == uninterrupted
    result = read_result(tmp_path / "results" / "A--quick--seed-1.json")
    assert result.provenance["revision"]
    assert result.provenance["processor"]
    assert result.wall_s == 8.0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_study_ends_as_if_nothing_had_happened(
    tmp_path: Path, uninterrupted: dict[str, object], how: signal.Signals
) -> None:
    # The pause is a setting of the runs, so it is taken back in their files before they go on.
    slow = write(tmp_path, base={"toy.pause_s": 0.08})
    process = start(tmp_path, slow)
    wait_for(tmp_path, count=2)
    process.send_signal(how)
    _, errors = process.communicate(timeout=30)
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert "4 are left" in errors
        assert "To go on: democtl experiment run" in errors
    workers_end(tmp_path)
    for request in (tmp_path / "runs").glob("*/request.json"):
        request.write_text(request.read_text().replace('"toy.pause_s": 0.08', '"toy.pause_s": 0.0'))
    outcome, _ = run(tmp_path, write(tmp_path, base={"toy.pause_s": 0.0}))
    assert (outcome.finished, outcome.left) == (4, 0)
    assert records(tmp_path) == uninterrupted
    for folder in (tmp_path / "runs").iterdir():
        told = [(record.kind, record.step) for record in read_journal(folder)]
        assert len(told) == len(set(told)) == 24


def test_sigterm_that_comes_again_while_the_workers_end_does_not_kill_the_study(tmp_path: Path) -> None:
    experiment = read_experiment(write(tmp_path))

    class Told:
        """Workers of which nothing is heard but two signals."""

        def __iter__(self) -> "Told":
            return self

        def __next__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        def close(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    outcome = run_experiment(
        experiment.cells(), Folders(tmp_path, tmp_path, with_logs=False), "", lambda _works: Told(), 1,
        RunProgress(Console(file=StringIO())),
    )  # fmt: skip
    assert (outcome.interrupted, outcome.left) == (True, 4)


def workers_end(folder: Path) -> None:
    """Workers end with whoever started them: nobody writes in the folders any more."""
    sizes: list[int] = []
    for _ in range(100):
        sizes.append(sum(path.stat().st_size for path in (folder / "runs").rglob("*.jsonl")))
        if len(sizes) > 4 and len(set(sizes[-5:])) == 1:
            return
        time.sleep(0.05)
    pytest.fail("workers outlive their study")


def test_failing_runs_do_not_stop_the_others(tmp_path: Path) -> None:
    methods = {
        "good": None,
        "raises": {"settings": {"toy.fails_at": 300}},
        "dies": {"settings": {"toy.dies_at": 300}},
        "wrong": {"settings": {"toy.unknown": 1}},
    }
    outcome, text = run(tmp_path, write(tmp_path, methods=methods, seeds=1))
    assert (outcome.finished, outcome.left) == (1, 0)
    assert outcome.failed == {
        "A raises seed 0": "RuntimeError: the toy fell over",
        "A dies seed 0": "its process ended with signal 9",
        "A wrong seed 0": "unknown setting 'toy.unknown'",
    }
    assert "failed: A raises seed 0: RuntimeError: the toy fell over" in text
    assert "Traceback" in (tmp_path / "runs" / "A--raises--seed-0" / "failure.txt").read_text()
    _, found = states(tmp_path)
    assert [state.state for state in found] == ["finished", "failed", "failed", "failed"]
    assert [state.text for state in found][2] == "its process ended with signal 9"


def test_on_a_full_disk_it_is_still_told_what_went_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(worker, "write_text_atomically", Mock(side_effect=full))
    work = worker.Work(cell(), "experiment_toy:train", tmp_path, None)
    assert worker.failure(work, full) == "OSError: [Errno 28] No space left on device"


def test_time_limit_ends_a_session_and_the_next_one_goes_on(tmp_path: Path) -> None:
    # A worker has several seconds to start in, and the runs would take twice the limit.
    slow = write(tmp_path, base={"toy.pause_s": 1.0}, seeds=1)
    outcome, _ = run(tmp_path, slow, limit_s=4.0)
    assert (outcome.late, outcome.finished, outcome.left) == (True, 0, 2)
    before = len(read_journal(tmp_path / "runs" / "A--slow--seed-0"))
    outcome, _ = run(tmp_path, slow)
    assert (outcome.late, outcome.finished, outcome.left) == (False, 2, 0)
    assert before > 0


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    run(tmp_path, write(tmp_path, seeds=1))
    with pytest.raises(ConfigurationError, match=r"steps: 800 there, 900 here.*remove it, or give another folder"):
        run(tmp_path, write(tmp_path, seeds=1, steps=900))
    # So is a checkpoint whose run is not finished; the report leaves such results out.
    for path in (tmp_path / "results").iterdir():
        path.unlink()
    changed = write(tmp_path, seeds=1, methods={"slow": {"settings": {"toy.rate": 3.0}}})
    outcome, _ = run(tmp_path, changed)
    assert "settings.toy.rate: nothing there, 3.0 here" in outcome.failed["A slow seed 0"]


def test_one_folder_has_one_study_at_work(tmp_path: Path) -> None:
    process = start(tmp_path, write(tmp_path, base={"toy.pause_s": 0.2}))
    try:
        wait_for(tmp_path)
        with pytest.raises(ConfigurationError, match="another run is at work there"):
            run(tmp_path, tmp_path / "toy.yaml")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_results_may_be_kept_elsewhere(tmp_path: Path) -> None:
    specification = write(tmp_path, seeds=1)
    experiment = read_experiment(specification)
    folders = Folders(tmp_path / "out", tmp_path / "kept", with_logs=False)
    for expected in (2, 0):
        outcome = run_experiment(
            experiment.cells(), folders, specification.read_text(), lambda works: run_locally(works, 2), 2,
            RunProgress(Console(file=StringIO())),
        )  # fmt: skip
        assert outcome.finished == expected
        if expected:  # a later session has the results and nothing else
            (tmp_path / "out").rename(tmp_path / "lost")
    # Either folder is enough to see the study; the one of the checkpoints says where the other is.
    for folder in ("kept", "out", "lost"):
        study = load_study(tmp_path / folder)
        assert (len(study.results), study.num_cells, study.strangers) == (2, 2, 0)
        assert [state.state for state in states(tmp_path / folder)[1]] == ["finished", "finished"]
    (tmp_path / "kept").rename(tmp_path / "moved")
    with pytest.raises(
        ConfigurationError, match=r"out: its results were kept in .*kept, .* give the folder that was --r"
    ):
        states(tmp_path / "out")


def test_progress_is_seen_where_the_checkpoints_are_though_results_are_elsewhere(tmp_path: Path) -> None:
    specification = write(tmp_path, base={"toy.fails_at": 300}, seeds=1)
    experiment = read_experiment(specification)
    for kept in ("kept", "out"):  # and then together
        folders = Folders(tmp_path / "out", tmp_path / kept, with_logs=False)
        run_experiment(
            experiment.cells(), folders, specification.read_text(), lambda works: run_locally(works, 2), 2,
            RunProgress(Console(file=StringIO())),
        )  # fmt: skip
        assert [(state.state, state.step) for state in states(tmp_path / "out")[1]] == [("failed", 300)] * 2
        assert (tmp_path / "out" / "results_folder.txt").exists() is (kept == "kept")


def cell(method: str = "m", seed: int = 0, steps: int = 1000) -> Cell:
    return Cell(method, "model_based", RunRequest("A", seed, steps, {}, EvaluationSettings()))


def test_pace_learns_from_finished_and_running_runs() -> None:
    pace = Pace()
    assert pace.left_s([cell()], [(cell(), None)], jobs=1) is None
    half = Record("evaluation", 500, 30.0, {})
    assert pace.left_s([cell(seed=1)], [(cell(), half)], jobs=1) == pytest.approx(30.0 + 60.0)
    pace.add(cell(), 100.0)
    # The run is expected to take (100 + 60) / 2; of another method nothing is known.
    assert pace.left_s([cell("other")], [(cell(), half)], jobs=2) == pytest.approx(80.0)
    assert pace.left_s([], [], jobs=2) == 0.0


def test_progress_is_plain_lines_now_and_then(tmp_path: Path) -> None:
    text, now_s = StringIO(), [0.0]
    progress = RunProgress(Console(file=text, width=200), clock=lambda: now_s[0])
    progress.start("toy", 5)
    running = [(cell(seed=seed), Record("evaluation", 250, 1.0, {})) for seed in range(3)]
    progress.show(1, 1, running, 4000.0)
    assert not text.getvalue()
    now_s[0] = 31.0
    progress.show(1, 1, running, 4000.0)
    assert text.getvalue() == "  2/5 runs, 1 failed  A m seed 0 25%  A m seed 1 25%  and 1 more  about 67 min left\n"
    assert [duration(value) for value in (45.0, 700.0, 12600.0)] == ["45 s", "12 min", "3.5 h"]


def test_progress_is_a_bar_on_a_terminal() -> None:
    text = StringIO()
    progress = RunProgress(Console(file=text, width=120, force_terminal=True))
    progress.start("toy", 2)
    progress.show(1, 0, [(cell(), None)], 60.0)
    progress.close()
    assert "1/2 runs" in text.getvalue()


def test_results_stay_small_and_keep_what_counts(tmp_path: Path) -> None:
    told = [Record("evaluation", 10 * k, k / 3, {"return_mean": k + 1 / 3}) for k in range(1, 301)]
    told += [Record("learner", k, k / 30, {"loss": 1.0 / k, **({"odd": 1.0} if k % 2 else {})}) for k in range(1, 3001)]
    told += [Record("plan", 3000, 100.0, {"gain": float("nan"), "cost": float("inf")})]
    path = tmp_path / "result.json"
    path.write_text(result_text(CellResult(cell(), tuple(told), {"revision": "r"})))
    assert path.stat().st_size < 30_000
    found = read_result(path)
    assert len(found.records_of("evaluation")) == 300
    assert len(found.records_of("learner")) <= 101
    assert found.records_of("learner")[-1].step == 3000
    assert found.column("evaluation", "return_mean")[1][0] == pytest.approx(4 / 3, rel=1e-5)
    (plan,) = found.records_of("plan")
    assert plan.values["gain"] != plan.values["gain"]
    assert plan.values["cost"] == float("inf")
    content = json.loads(path.read_text())
    content["records"]["evaluation"]["return_mean"].pop()
    for damaged in ({}, content):
        path.write_text(json.dumps(damaged))
        with pytest.raises(ConfigurationError, match="remove it to run it again"):
            read_result(path)


def test_journal_and_log_have_each_step_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    log = tmp_path / "log"
    for steps in ([1, 2, 3, 4], [3, 4, 5]):
        journal = Journal(tmp_path, log)
        for step in steps:
            journal(Record("evaluation", step, step / 10, {"return_mean": float(step)}))
        journal.close()
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"kind": "eval')  # killed while it wrote
    assert [record.step for record in read_journal(tmp_path)] == [1, 2, 3, 4, 5]
    assert logged(log) == [("evaluation/return_mean", step, float(step)) for step in (1, 2, 3, 4, 5)]


def test_a_journal_goes_on_after_a_first_line_that_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"kind": "eval')  # killed while it wrote
    journal = Journal(tmp_path, None)
    for step in (1, 2):
        journal(Record("evaluation", step, step / 10, {"return_mean": float(step)}))
    assert [record.step for record in read_journal(tmp_path)] == [1, 2]


def logged(folder: Path) -> list[tuple[str, int, float]]:
    """The scalars in a TensorBoard log."""
    from tensorboardX.proto.event_pb2 import Event  # noqa: PLC0415 - optional

    found = []
    for path in folder.glob("events.*"):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            content = content[12 + length + 4 :]
    return found


def test_experiment_is_found_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no study there .* give the folder that was --out or --results"):
        load_study(tmp_path)
    assert isinstance(read_experiment(write(tmp_path)), Experiment)


def test_whoever_starts_runs_needs_no_torch() -> None:
    code = "import sys, demo_control.cli.experiment, demo_control.experiments.worker; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
