"""The report on experiments, from results that are made up; and the commands."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from demo_control.cli.experiment import app
from demo_control.experiments import training
from demo_control.experiments.report import page
from demo_control.experiments.results import CellResult, result_text
from demo_control.experiments.spec import read_experiment
from demo_control.experiments.study import load_study
from demo_control.experiments.summary import summarise
from demo_control.experiments.training import Record

HERE = Path(__file__).parent
SPECIFICATION: dict[str, Any] = {
    "text": "Nothing is learned here.",
    "environments": {
        "A": {"thresholds": [400, 950], "scale": [0, 1000]},
        "B": {"scale": [0, 1000], "steps": 950, "evaluation": {"stop_in_a_row": 1, "stop_return": 500.0}},
    },
    "steps": 1000,
    "seeds": 6,
    "in_a_row": 2,
    "evaluation": {"every_steps": 100},
    "variants": {"updates": {"10": {"learner.updates": 10}, "20": {"learner.updates": 20}}},
    "methods": {"sac": {"text": "Soft actor-critic.", "axes": []}, "mbpo": {"text": "With a model."}},
    "reference": "sac",
}
PACE = {"sac": 0.6, "mbpo updates=10": 1.2, "mbpo updates=20": 2.4}
"""Return per step of each method."""


def make_study(folder: Path, **changes: Any) -> Path:  # noqa: ANN401 - any field
    """A study with straight lines for returns; its last run is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({"name": folder.name, **SPECIFICATION, **changes}, sort_keys=False))
    (folder / "results").mkdir(exist_ok=True)
    for cell in read_experiment(path).cells()[:-1]:
        stops = cell.request.evaluation.stop_in_a_row > 0
        told = []
        for step in range(100, 1001, 100):
            value = PACE[cell.method] * step + cell.request.seed
            told.append(Record("evaluation", step, step / 10, {"return_mean": value, "return_deviation": 1.0}))
            told.append(Record("plan", step, step / 10, {"truly_better": 0.5 + step / 4000}))
            if stops and value >= 500.0:
                break
        result = CellResult(cell, tuple(told), {"processor": "a processor"})
        (folder / "results" / f"{cell.name}.json").write_text(result_text(result))
    return folder


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_report_has_tables_figures_and_all_records(tmp_path: Path) -> None:
    study = make_study(tmp_path / "toy")
    call("report", study, "--json", tmp_path / "report.json")
    text = (study / "report.md").read_text()
    assert "35 of 36 runs are finished." in text
    assert "Nothing is learned here." in text
    assert "| `mbpo updates=10` | With a model. |" in text
    assert "the last of the first 2 evaluations in a row" in text
    assert "keep their last value" in text
    # 0.6 · 700 is the first of at least 400, so 800 the second in a row; 950 is never reached.
    assert "| `sac` | 6 | 602 (601 to 604) | 800 (800 to 800) | 6 of 6 | 1 |" in text
    assert "≥ 1\u202f000 (≥ 1\u202f000 to ≥ 1\u202f000) | 0 of 6" in text
    # 1.2 · 400 and 500: 500 steps of 800; 2.4 · 200 and 300. In bold, as 1 is outside the interval.
    assert "| 500 (500 to 500) | 6 of 6 | **0.62 (0.62 to 0.62)** |" in text
    assert "| 300 (300 to 300) | 6 of 6 | **0.38 (0.38 to 0.38)** |" in text
    assert "**≤ 0.90" in text
    assert "## All environments" in text
    for name in ("returns", "steps", "plan"):
        assert f"]({name}.png)" in text
        with Image.open(study / f"{name}.png") as picture:
            assert picture.width == 1100
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    with (study / "records.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(json.loads(path.read_text())["records"]["evaluation"]["step"]) * 2
                            for path in (study / "results").iterdir())  # fmt: skip
    assert rows[0]["method"] == "sac"
    content = json.loads((tmp_path / "report.json").read_text())["studies"][0]
    assert (content["finished"], content["cells"]) == (35, 36)
    first = content["methods"][0]
    assert first["thresholds"][0]["steps"]["value"] == 800.0
    assert first["thresholds"][1]["steps"]["marks"] == ["≥", "≥", "≥"]
    # Of B those whose last step would have come before the next evaluation, too: 0.6 · 900 is good enough.
    assert [method["stopped"] for method in content["methods"]] == [0, 0, 0, 6, 6, 5]
    assert "17 runs stopped early" in text
    assert content["average_scores"]["sac"]["value"] == pytest.approx(0.55, abs=0.06)


def test_texts_of_several_lines_and_bars_stay_in_their_cells(tmp_path: Path) -> None:
    methods = {"sac": {"text": "Of two lines,\nmax |x|.", "axes": []}, "mbpo": None}
    study = make_study(tmp_path / "toy", environments=["A"], seeds=2, methods=methods)
    call("report", study)
    assert "| `sac` | Of two lines, max \\|x\\|. |" in (study / "report.md").read_text().splitlines()


def test_one_page_on_several_studies(tmp_path: Path) -> None:
    folders = [make_study(tmp_path / name, seeds=1, environments=["A"]) for name in ("one", "two")]
    call("report", *folders, "--out", tmp_path / "page")
    text = (tmp_path / "page" / "report.md").read_text()
    assert "# one" in text
    assert "](two_returns.png)" in text
    assert (tmp_path / "page" / "one_returns.png").exists()


def test_studies_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """One specification in two folders, as before and after a change of the code."""
    folders = [make_study(tmp_path / name, name="toy", environments=["A"], steps=steps)
               for name, steps in (("before", 1000), ("after", 900))]  # fmt: skip
    call("report", *folders, "--out", tmp_path / "page", "--json", tmp_path / "report.json")
    text = (tmp_path / "page" / "report.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# toy", "# toy-2"]
    assert "](toy_returns.png)" in text
    assert "](toy-2_returns.png)" in text
    assert (tmp_path / "page" / "toy-2_plan.png").exists()
    with (tmp_path / "page" / "records.csv").open() as file:
        assert {row["study"] for row in csv.DictReader(file)} == {"toy", "toy-2"}
    studies = json.loads((tmp_path / "report.json").read_text())["studies"]
    assert [study["name"] for study in studies] == ["toy", "toy-2"]


def test_results_of_other_settings_are_left_out(tmp_path: Path) -> None:
    study = make_study(tmp_path / "toy")
    make_study(tmp_path / "other", steps=900)
    name = "A--sac--seed-0.json"
    (study / "results" / name).write_bytes((tmp_path / "other" / "results" / name).read_bytes())
    found = load_study(study)
    assert (len(found.results), found.strangers) == (34, 1)
    assert "1 results in the folder are of other settings and are left out." in page(found, summarise(found), [])


def test_nothing_to_report(tmp_path: Path) -> None:
    assert "no study there" in call("report", tmp_path, code=2)
    study = make_study(tmp_path / "toy")
    for path in (study / "results").iterdir():
        path.unlink()
    assert "no run is finished there" in call("report", study, code=2)


def test_commands_run_filter_and_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.TRAINERS, "model_based", "experiment_toy:train")
    monkeypatch.syspath_prepend(str(HERE))
    path = tmp_path / "toy.yaml"
    methods = {"good": {"text": ""}, "bad": {"settings": {"toy.fails_at": 100}}}
    fields = {"environments": ["A", "B"], "steps": 300, "seeds": 3, "evaluation": {"every_steps": 100}}
    path.write_text(yaml.safe_dump({**fields, "methods": methods}, sort_keys=False))
    shared = ("run", path, "--out", tmp_path / "out", "--jobs", 2, "--no-logs")
    text = call(*shared, "--only", "method=good", "--environment", "A", "--seeds", "0-1")
    assert "2 runs finished, 0 were there." in text
    text = call(*shared, "--environment", "A", "--seeds", "0", code=1)
    assert "0 runs finished, 1 were there, 1 failed." in text
    assert "A bad seed 0: RuntimeError: the toy fell over" in text
    text = call(*shared, "--time-limit", "0", code=3)
    assert "The time is over. To go on:" in text
    found = json.loads(CliRunner().invoke(app, ["status", str(tmp_path / "out"), "--json", "-"]).stdout)
    states = {row["run"]: row["state"] for row in found["runs"]}
    assert states["A--good--seed-1"] == "finished"
    assert states["A--bad--seed-0"] == "failed"
    assert states["B--bad--seed-2"] == "waiting"
    assert "finished" in call("status", tmp_path / "out")
    assert "expected method=NAME" in call(*shared, "--only", "good", code=2)
    for seeds in ("x", "1-0", "0-", "0,,1"):
        assert "expected seeds such as" in call(*shared, "--seeds", seeds, code=2)
    # The file does not say its name, so the study is called as its folder.
    call("report", tmp_path / "out")
    assert (tmp_path / "out" / "report.md").read_text().startswith("# out\n")
    before = (tmp_path / "out" / "experiment.yaml").read_text()
    (tmp_path / "out" / "experiment.yaml").write_text(f"name: first\n{before}")
    path.write_text(f"name: second\n{before}")
    assert "holds the study 'first'; choose another folder" in call(*shared, "--time-limit", "0", code=2)
    assert (tmp_path / "out" / "experiment.yaml").read_text() == f"name: first\n{before}"
    for file in (path, tmp_path / "out" / "experiment.yaml"):
        file.write_text(before)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "Ray, which is not installed: python -m pip" in call(*shared, "--ray", "auto", code=2)
    assert "must be one of good, bad" in call(*shared, "--only", "method=best", code=2)
