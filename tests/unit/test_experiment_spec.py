"""Specifications of experiments: the runs that follow from them, and what is said about wrong ones."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo_control.configuration import ConfigurationError
from demo_control.experiments.results import cell_as_mapping, cell_of, differences
from demo_control.experiments.run import Selection
from demo_control.experiments.spec import Experiment, read_experiment

MINIMAL: dict[str, Any] = {"environments": ["A"], "steps": 100, "methods": {"sac": None}}


def write(folder: Path, content: object) -> Path:
    path = folder / "study.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def read(folder: Path, **changes: Any) -> Experiment:  # noqa: ANN401 - any field
    return read_experiment(write(folder, {**MINIMAL, **changes}))


def test_example_of_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text().partition("```yaml\n")[2]
    experiment = read_experiment(write(tmp_path, text.partition("```")[0]))
    names = [method.name for method in experiment.methods]
    assert names == ["mbpo updates=10", "mbpo updates=20", "demorl updates=10", "demorl updates=20", "ars"]
    assert len(experiment.cells()) == 8 * 2 * 5


def test_minimal_specification(tmp_path: Path) -> None:
    experiment = read(tmp_path)
    (cell,) = experiment.cells()
    assert (experiment.name, cell.method, cell.trainer) == ("study", "sac", "model_based")
    assert (cell.request.environment, cell.request.seed, cell.request.steps) == ("A", 0, 100)
    assert cell.request.evaluation.every_steps == 250
    assert cell.name == "A--sac--seed-0"


def test_settings_come_from_the_general_to_the_special(tmp_path: Path) -> None:
    experiment = read(
        tmp_path,
        environments={"A": {"settings": {"g.b": 2, "g.c": 2}, "evaluation": {"episodes": 3}, "steps": 50}, "B": None},
        base={"g.a": 1, "g.b": 1, "g.c": 1, "g.d": "1e-3"},
        methods={"sac": {"settings": {"g.c": 3}}},
        evaluation={"every_steps": 10, "episodes": 5},
    )
    first, second = experiment.cells()
    assert first.request.settings == {"g.a": 1, "g.b": 2, "g.c": 3, "g.d": 0.001}
    assert (first.request.steps, first.request.evaluation.episodes, first.request.evaluation.every_steps) == (50, 3, 10)
    assert second.request.settings == {"g.a": 1, "g.b": 1, "g.c": 3, "g.d": 0.001}
    assert (second.request.steps, second.request.evaluation.episodes) == (100, 5)


def test_another_trainer_has_settings_of_its_own(tmp_path: Path) -> None:
    methods = {
        "sac": None,
        "ars": {"trainer": "ars", "settings": {"search.step": 0.1}, "steps": 900, "evaluation": {"every_steps": 90}},
    }
    experiment = read(tmp_path, base={"sac.rate": 1.0}, methods=methods)
    sac, ars = experiment.cells()
    assert sac.request.settings == {"sac.rate": 1.0}
    assert (ars.trainer, ars.request.settings, ars.request.steps) == ("ars", {"search.step": 0.1}, 900)
    assert ars.request.evaluation.every_steps == 90


def test_variants_are_crossed_with_methods_and_each_other(tmp_path: Path) -> None:
    variants = {
        "updates": {"10": {"learner.updates": 10}, "20": {"learner.updates": 20}},
        "noise": {"low": {"plan.noise": 0.1}, "high": {"plan.noise": 0.5}},
    }
    methods = {"mbpo": {"axes": ["updates"]}, "demorl": {"settings": {"plan.horizon": 3}}, "sac": {"axes": []}}
    experiment = read(tmp_path, variants=variants, methods=methods, reference="mbpo updates=10")
    assert [method.name for method in experiment.methods] == [
        "mbpo updates=10", "mbpo updates=20",
        "demorl updates=10 noise=low", "demorl updates=10 noise=high",
        "demorl updates=20 noise=low", "demorl updates=20 noise=high",
        "sac",
    ]  # fmt: skip
    assert experiment.methods[3].settings == {"plan.horizon": 3, "learner.updates": 10, "plan.noise": 0.5}
    assert [cell.method for cell in Selection(methods=["mbpo"]).of(experiment)] == [
        "mbpo updates=10", "mbpo updates=20",
    ]  # fmt: skip


def test_methods_are_interleaved(tmp_path: Path) -> None:
    experiment = read(tmp_path, methods={"x": None, "y": None}, environments=["A", "B"], seeds=[7, 3])
    order = [(cell.request.seed, cell.request.environment, cell.method) for cell in experiment.cells()]
    assert order == [(seed, place, method) for seed in (7, 3) for place in "AB" for method in "xy"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sedes": 3}, r"unknown field 'sedes'; did you mean 'seeds'\?"),
        ({"seeds": 0}, "seeds = 0: must be how many"),
        ({"seeds": [1, 1]}, r"seeds = \[1, 1\]: a seed occurs twice"),
        ({"seeds": True}, "seeds = True"),
        ({"steps": 1.5}, "steps = 1.5: must be a whole number, at least 1"),
        ({"trainer": "arx"}, "trainer = 'arx': must be one of model_based, ars; did you mean 'ars'"),
        ({"environments": []}, "environments"),
        ({"environments": {"A": {"treshold": 1}}}, "unknown field 'environments.A.treshold'; did you mean"),
        ({"environments": {"A": {"scale": [3, 1]}}}, "environments.A.scale"),
        ({"evaluation": {"episode": 1}}, "evaluation: unknown setting 'episode'; did you mean 'episodes'"),
        ({"evaluation": {"episodes": 0}}, "evaluation: EvaluationSettings.episodes = 0: must be at least 1"),
        ({"methods": {}}, "methods"),
        ({"methods": {"sac": {"setings": {}}}}, "unknown field 'methods.sac.setings'; did you mean 'settings'"),
        ({"methods": {"sac": {"settings": {"g.a": [1]}}}}, r"methods.sac.settings.g.a = \[1\]: must be one number"),
        ({"methods": {"sac": {"axes": ["x"]}}}, "methods.sac.axes"),
        ({"methods": {"sac": {"axes": [["x"]]}}}, "methods.sac.axes"),
        ({"methods": {3: None}}, "must be a word"),
        ({"methods": {"a b": None, "a_b": None}}, "same file name"),
        ({"base": {"g.a": "nan"}}, "base.g.a = 'nan': must be finite"),
        ({"variants": {"updates": {}}}, "variants.updates"),
        ({"reference": "mbpo"}, "reference = 'mbpo': must be one of sac"),
        ({"thresholds": ["high"]}, "thresholds"),
        ({"thresholds": [9], "evaluation": {"stop_in_a_row": 1, "stop_return": 5.0}}, "runs of 'sac' stop at 5"),
        ({"thresholds": [9], "in_a_row": 3, "evaluation": {"stop_in_a_row": 2, "stop_return": 9.0}}, "in_a_row = 3"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read(tmp_path, **changes)
    assert "study.yaml: " in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "steps: 1\nsteps: 2", "!!python/object/apply:os.system ['true']"])
def test_what_is_no_specification_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"study\.yaml"):
        read_experiment(write(tmp_path, text))


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    text = "environments: [A]\nsteps: 1\nmethods:\n  sac: {text: one}\n  sac: {text: two}\n"
    with pytest.raises(ConfigurationError, match="'sac' occurs twice"):
        read_experiment(write(tmp_path, text))


@pytest.mark.parametrize("chosen", [{"methods": ["x"]}, {"environments": ["x"]}, {"seeds": [9]}])
def test_selection_knows_the_names(tmp_path: Path, chosen: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="must be one of"):
        Selection(**chosen).of(read(tmp_path))


SCALARS = st.one_of(st.booleans(), st.integers(-10, 10), st.floats(-1e6, 1e6, allow_nan=False))
NAMES = st.text("abcdefgh", min_size=1, max_size=5)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seeds=st.integers(1, 4),
    environments=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    methods=st.dictionaries(NAMES, st.dictionaries(NAMES, SCALARS, max_size=3), min_size=1, max_size=3),
)
def test_cells_survive_the_result_file(
    tmp_path: Path, seeds: int, environments: list[str], methods: dict[str, dict[str, object]]
) -> None:
    experiment = read(
        tmp_path, seeds=seeds, environments=environments,
        methods={name: {"settings": values} for name, values in methods.items()},
    )  # fmt: skip
    cells = experiment.cells()
    assert len({cell.name for cell in cells}) == len(cells) == seeds * len(environments) * len(methods)
    for cell in cells:
        assert not differences(cell_of(cell_as_mapping(cell)), cell)
    # More seeds and methods only add cells.
    more = read(
        tmp_path, seeds=seeds + 1, environments=[*environments, "zz"],
        methods={"zz": None, **{name: {"settings": values} for name, values in methods.items()}},
    )  # fmt: skip
    later = {cell.name: cell for cell in more.cells()}
    assert all(not differences(cell, later[cell.name]) for cell in cells)
