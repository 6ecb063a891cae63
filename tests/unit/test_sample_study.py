"""The sample study: what its cells are, what it keeps, and that it goes on where it was interrupted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_efficiency import study as study_command
from samples import obstacles
from samples import study as study_module
from samples.closed_loop import Outcome, PlanningController, true_model
from samples.problems import PROBLEMS, chosen
from samples.report import relative_cost, report
from samples.results import Row, make_row, read_rows, write_rows
from samples.study import ORDER, Cell, make_cells, run_cell, run_study
from samples.variants import LEFT_OUT, PRESET, VARIANTS

from demo_control.bundle import default_bundle, load_bundle
from demo_control.configuration import ConfigurationError
from demo_control.mpc import PRESETS, Planner, preset
from demo_control.rollout import RolloutEngine, Rollouts, RolloutShape
from demo_control.statistics import wilson_interval
from demo_control.tasks import Task

KEY = ("obstacles", "white", 16)
OUTCOME = Outcome((1.0, 2.0, 4.0, 9.0), (True, False, True, True))


class Silent:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.result = ""
        self.done: list[int] = []
        self.total = 0

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.total = total

    def advance(self, done: int, text: str) -> None:
        self.done.append(done)

    def finish(self, text: str) -> None:
        self.result = text


class CountingEngine:
    """A true model that counts the rows of the engine for samples."""

    def __init__(self, task: Task) -> None:
        self._make = true_model(task, obstacles.step, obstacles.policy)
        self.rows = 0

    def shaped(self, shape: RolloutShape) -> RolloutEngine:
        engine = self._make(shape)
        if shape.with_trajectory:
            return engine
        roll_out = engine.roll_out

        def counted(observations: np.ndarray, controls: np.ndarray, *others: Any) -> Rollouts:  # noqa: ANN401 - passed on
            self.rows += controls.shape[2]
            return roll_out(observations, controls, *others)

        engine.roll_out = counted  # type: ignore[method-assign]
        return engine


class Interrupted(Silent):
    """Stands for a person who gives up after the first cell."""

    def advance(self, done: int, text: str) -> None:
        raise KeyboardInterrupt


def small_cells(seeds: int = 2) -> list[Cell]:
    return make_cells(["obstacles"], ["policy", "white"], [4, 8], seeds, 0)


class TestCells:
    def test_policy_alone_needs_no_samples(self) -> None:
        assert [cell.key for cell in small_cells()] == [
            ("obstacles", "policy", 0), ("obstacles", "white", 4), ("obstacles", "white", 8),
        ]  # fmt: skip

    def test_shipped_settings_are_those_of_shipped_tasks(self) -> None:
        cells = make_cells(list(PROBLEMS), ["shipped"], [256], 2, 0)
        assert [cell.problem for cell in cells] == [name for name, problem in PROBLEMS.items() if problem.learned]

    def test_too_few_samples_for_any_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"samples = 1: too few .*icem on problems = arm"):
            make_cells(["arm"], ["icem"], [1], 2, 0)

    @pytest.mark.parametrize("problem", list(PROBLEMS))
    @pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "policy"])
    def test_mirror_steps_and_members_share_the_samples(self, problem: str, variant: str) -> None:
        whole = PROBLEMS[problem]
        for budget in (8, 64, 256):
            settings = Cell(problem, variant, budget, 2, 0).settings
            if settings is None:
                assert budget < 64
                continue
            assert whole.rollouts(settings) <= budget
            part = whole.members if settings.ensemble == "split" else 1
            assert settings.num_samples % part == 0
            more = type(settings).from_mapping({"num_samples": settings.num_samples + part}, base=settings)
            assert whole.rollouts(more) > budget

    @pytest.mark.parametrize("variant", ["white", "cem", "icem", "topdm"])
    def test_rollouts_are_those_that_the_planner_makes(self, variant: str) -> None:
        settings = Cell("obstacles", variant, 64, 2, 0).settings
        assert settings is not None
        engine = CountingEngine(obstacles.task())
        planner = Planner(obstacles.task(), settings, engine.shaped)
        controller = PlanningController(planner, 2)
        controller.reset([np.random.default_rng(0)])
        controller.act(np.zeros((1, 4)))
        assert engine.rows == PROBLEMS["obstacles"].rollouts(settings)

    def test_samples_on_all_members_count_for_each(self) -> None:
        problem = PROBLEMS["cartpole_learned"]
        whole, split = ({"ensemble": use, "mirror_steps": 2} for use in ("mean", "split"))
        for values, samples in ((whole, 8), (split, 32)):
            settings = problem.planner_settings(values, 64)
            assert settings is not None
            assert settings.num_samples == samples
            assert problem.rollouts(settings) == 64

    def test_presets_left_out_are_the_same_as_others_here(self) -> None:
        assert preset("mbpo")["mirror_steps"] == 0
        polo, mppi = preset("polo"), preset("mppi")
        assert {name for name in polo if polo[name] != mppi.get(name)} == {"terminal_weight", "value_weight"}
        assert all(load_bundle(default_bundle(task)).value is None for task in ("cartpole", "stoch2"))
        shown = {name for name, variant in VARIANTS.items() if PRESET in variant.figures}
        assert set(PRESETS) <= set(LEFT_OUT) | shown
        assert not shown & set(LEFT_OUT)

    def test_all_ways_of_planning_share_what_belongs_to_the_problem(self) -> None:
        for problem in PROBLEMS.values():
            for variant in VARIANTS:
                settings = Cell(problem.name, variant, 256, 2, 0).settings
                if settings is not None:
                    values = settings.as_mapping()
                    assert {name: values[name] for name in problem.settings} == problem.settings

    def test_fingerprint_is_that_of_settings_and_seeds(self) -> None:
        cell = Cell("arm", "white", 16, 2, 0)
        others = [replace(cell, seeds=3), replace(cell, seed=1), replace(cell, budget=32), replace(cell, variant="cem")]
        assert len({cell.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1
        assert replace(cell).fingerprint == cell.fingerprint

    def test_unknown_names_are_told(self) -> None:
        assert chosen(["arm", "stoch2"], PROBLEMS, "problems") == ["stoch2", "arm"]
        assert chosen([], PROBLEMS, "problems") == list(PROBLEMS)
        with pytest.raises(ConfigurationError, match=r"problems = 'leg': must be one of .*arm"):
            chosen(["leg"], PROBLEMS, "problems")


class TestRows:
    def test_figures(self) -> None:
        row = make_row(KEY, 16, "f", OUTCOME)
        assert row.key == KEY
        assert (row.seeds, row.successes, row.success_rate) == (4, 3, 0.75)
        assert row.cost_mean == 4.0
        assert 1.0 <= row.cost_low < row.cost_mean < row.cost_high <= 9.0
        assert (row.success_low, row.success_high) == pytest.approx(wilson_interval(3, 4), abs=1e-4)
        np.testing.assert_array_equal(row.costs, OUTCOME.costs)
        assert row.seed_successes == "1011"

    def test_bootstrap_covers_the_mean(self) -> None:
        generator = np.random.default_rng(0)
        covered = 0
        for _ in range(200):
            row = make_row(KEY, 16, "f", Outcome(tuple(generator.normal(5.0, 1.0, 24)), (True,) * 24))
            covered += row.cost_low <= 5.0 <= row.cost_high
        assert 0.88 <= covered / 200 <= 0.99

    def test_relative_cost_is_paired(self) -> None:
        costs = tuple(np.random.default_rng(0).uniform(1.0, 100.0, 24))
        reference = make_row(KEY, 16, "f", Outcome(costs, (True,) * 24))
        row = make_row(KEY, 16, "f", Outcome(tuple(0.5 * cost for cost in costs), (True,) * 24))
        assert relative_cost(row, reference) == pytest.approx((0.5, 0.5, 0.5), rel=1e-4)

    def test_file_keeps_rows_in_the_order_of_the_tables(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv"
        keys = [("obstacles", "white", 64), ("arm", "white", 8), ("obstacles", "white", 8), ("obstacles", "policy", 0)]
        rows = [make_row(key, key[2], "f", OUTCOME) for key in keys]
        write_rows(path, rows, ORDER)
        assert list(read_rows(path)) == [keys[1], keys[3], keys[2], keys[0]]
        assert read_rows(path) == {row.key: row for row in rows}

    def test_file_of_another_kind_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv"
        assert read_rows(path) == {}
        path.write_text("a,b\n1,2\n")
        assert read_rows(path) == {}


class TestStudy:
    def test_result_does_not_depend_on_the_number_of_processes(self, tmp_path: Path) -> None:
        cells = small_cells()
        one, two = (run_study(cells, tmp_path / f"{jobs}.csv", jobs, Silent()) for jobs in (1, 2))
        assert one == two
        assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
        assert [row.key for row in one] == [cell.key for cell in cells]

    def test_interrupted_study_goes_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(study_module, "_finished", lambda cells, _jobs: ((c, run_cell(c)) for c in cells))
        path, cells = tmp_path / "rows.csv", small_cells()
        with pytest.raises(KeyboardInterrupt):
            run_study(cells, path, 1, Interrupted())
        kept = read_rows(path)
        assert len(kept) == 1
        reporter = Silent()
        rows = run_study(cells, path, 1, reporter)
        assert reporter.result == "2 cells run, 1 were there"
        assert reporter.done[-1] == pytest.approx(reporter.total, abs=1)
        assert all(rows[[c.key for c in cells].index(key)] == row for key, row in kept.items())
        again = Silent()
        assert run_study(cells, path, 1, again) == rows
        assert again.result == "0 cells run, 3 were there"

    def test_other_seeds_are_other_cells(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(study_module, "_finished", lambda cells, _jobs: ((c, run_cell(c)) for c in cells))
        path = tmp_path / "rows.csv"
        run_study(small_cells(), path, 1, Silent())
        reporter = Silent()
        rows = run_study(small_cells(3), path, 1, reporter)
        assert reporter.result == "3 cells run, 0 were there"
        assert {row.seeds for row in rows} == {3}

    def test_rows_of_other_cells_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(study_module, "_finished", lambda cells, _jobs: ((c, run_cell(c)) for c in cells))
        path = tmp_path / "rows.csv"
        other = make_row(("arm", "white", 8), 8, "f", OUTCOME)
        write_rows(path, [other], ORDER)
        rows = run_study(small_cells(), path, 1, Silent())
        assert other not in rows
        assert read_rows(path)[other.key] == other

    def test_seed_is_the_same_beside_others(self) -> None:
        # Sums in float64 may depend on the size of a batch in their last bits, and a collision may follow from that.
        few, many = (run_cell(Cell("arm", "policy", 0, seeds, 0)) for seeds in (2, 4))
        np.testing.assert_allclose(few.costs, many.costs[:2], rtol=1e-4)


def test_whole_command(tmp_path: Path) -> None:
    study_command(
        problems="obstacles", variants="policy,white,mppi,demo_layer", samples="4,8", seeds=2, jobs=1, out=tmp_path,
        json_file=str(tmp_path / "cells.json"),
    )  # fmt: skip
    assert len(read_rows(tmp_path / "samples_cells.csv")) == 7
    text = (tmp_path / "samples_tables.md").read_text()
    assert "M = 8" in text
    assert "Point among obstacles" in text
    for name in ("samples_noise.png", "samples_presets.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert '"cells"' in (tmp_path / "cells.json").read_text()


def test_report_marks_what_is_surely_different() -> None:
    def row(variant: str, factor: float) -> Row:
        costs = tuple(factor * cost for cost in (1.0, 1.1, 1.2, 1.3))
        return make_row(("arm", variant, 8), 8, "f", Outcome(costs, (True,) * 4))

    text = report([row("white", 1.0), row("demo_layer", 0.5)])
    assert "| `demo_layer` | **0.50 (0.50 to 0.50)** |" in text
    assert "4 of 4 (51 to 100 %)" in text


def test_report_says_from_which_number_of_samples_on_it_is_good() -> None:
    def row(budget: int, cost: float, successes: int) -> Row:
        outcome = Outcome((cost,) * 10, (True,) * successes + (False,) * (10 - successes))
        return make_row(("arm", "white", budget), budget, "f", outcome)

    # Good at 16 by chance, and for good from 64 on.
    text = report([row(8, 9.0, 3), row(16, 5.0, 10), row(32, 6.0, 8), row(64, 5.05, 9), row(128, 5.0, 10)])
    assert text.count("| `white` | 64 |") == 2
    assert "| `white` | – |" in report([row(8, 9.0, 3)])
