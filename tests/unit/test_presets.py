"""Each preset does what its paper says, on a problem whose best plan is known."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.bundle import Bundle
from demo_control.configuration import ConfigurationError
from demo_control.mpc import PRESETS, Planner, PlannerSettings, PlanningResult, preset
from demo_control.mpc.presets import settings_of
from demo_control.rollout import OnnxEngine
from demo_control.tasks import Array, Task

from .linear_planning import (
    HORIZON,
    PENDING,
    PLANNED_FROM,
    START,
    RecordingEngine,
    here,
    make_planner,
    plan_cost,
    policy_controls,
    riccati_controls,
    situation,
)

METHODS = ("mppi", "cem", "pets", "icem", "polo", "mopac", "mbpo", "topdm", "demo_rl", "demo_layer")
DEVIATION = 0.05
"""Of the noise, as a share of half the action range: 2.5 m/s²."""


class Run:
    """One or several plans of a preset, and everything that its engines rolled out."""

    def __init__(self, task: Task, name: str, plans: int = 1, **settings: object) -> None:
        values = {
            "mirror_steps": 1,
            "num_samples": 64,
            **preset(name),
            "noise_standard_deviation": DEVIATION,
            **settings,
        }
        engines: list[RecordingEngine] = []
        self.planner = make_planner(task, engines, **values)
        self.engine = engines[1]
        self.results: list[PlanningResult] = []
        generators = [np.random.default_rng(7)]
        previous = None
        for _ in range(plans):
            self.results.append(self.planner.plan(here(previous), generators))
            previous = self.results[-1].previous(0, 1)
        self.weights = self.planner.cost_weights

    @property
    def result(self) -> PlanningResult:
        return self.results[-1]

    def samples(self, call: int) -> Array:
        """What the engine was given in a mirror step. Shape=(num_samples, HORIZON, 1)."""
        return self.engine.controls[call][:, 0].swapaxes(0, 1)

    def costs(self, call: int) -> Array:
        return np.asarray(self.engine.results[call].term_costs[0] @ self.weights)


def shifted(plan: Array) -> Array:
    """Drop the first step, repeat the last."""
    return np.concatenate([plan[1:], plan[-1:]])


def test_the_table_is_complete() -> None:
    assert set(METHODS) <= set(PRESETS)
    for name in PRESETS:
        assert isinstance(settings_of(name), PlannerSettings)


def test_an_unknown_preset_is_told() -> None:
    with pytest.raises(ConfigurationError, match="preset = 'mpi': must be one of mppi, cem"):
        preset("mpi")


@pytest.mark.parametrize("name", METHODS)
def test_finds_the_riccati_solution(linear_task: Task, name: str) -> None:
    """Given time, every method that searches gains 95 % of what there is to gain on the policy; MBPO stays with it."""
    settings: dict[str, float] = {"num_samples": 512, "noise_standard_deviation": 0.02, "sample_decay": 1.0}
    if name != "mbpo":
        settings["mirror_steps"] = 60
        settings["covariance_floor"] = 0.1
    run = Run(linear_task, name, **settings)
    terminal = run.planner.settings.terminal_weight
    best = plan_cost(PLANNED_FROM, riccati_controls(PLANNED_FROM, terminal), terminal)
    found = plan_cost(PLANNED_FROM, run.result.controls[0], terminal)
    policy = plan_cost(PLANNED_FROM, policy_controls(PLANNED_FROM), terminal)
    assert best < 0.95 * policy
    assert best - 1e-9 <= found
    if name == "mbpo":
        assert found == pytest.approx(policy, rel=1e-9)
    else:
        assert found < best + 0.05 * (policy - best)


def test_mppi_is_the_softmax_around_the_shifted_plan(linear_task: Task) -> None:
    run = Run(linear_task, "mppi", plans=2)
    before, after = (result.controls[0] for result in run.results)
    samples, costs = run.samples(1), run.costs(1)
    np.testing.assert_allclose(samples[0], shifted(before), rtol=1e-6)
    weights = np.exp(-(costs - costs.min()) / (0.1 * costs.std()))
    np.testing.assert_allclose(after, np.einsum("i,iha->ha", weights / weights.sum(), samples), rtol=1e-5)
    np.testing.assert_allclose((samples - shifted(before))[1:].std(), DEVIATION * 50.0, rtol=0.1)


def elites_of(samples: Array, costs: Array) -> Array:
    return np.asarray(samples[np.argsort(costs)[: int(np.ceil(0.1 * len(costs)))]])


def test_cem_fits_mean_and_spread_to_the_elites(linear_task: Task) -> None:
    run = Run(linear_task, "cem", num_samples=2000)
    assert len(run.engine.controls) == 5
    assert run.planner.settings.terminal_weight == 0.0
    for call in range(4):
        elites = elites_of(run.samples(call), run.costs(call))
        following = run.samples(call + 1)
        np.testing.assert_allclose(following[0], elites.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(following[1:].std(axis=0), elites.std(axis=0), rtol=0.12)
    np.testing.assert_allclose(run.result.controls[0], elites_of(run.samples(4), run.costs(4)).mean(axis=0), rtol=1e-4)
    assert run.result.deviation[0].max() < 0.5 * DEVIATION * 50.0


def test_each_cem_plan_begins_with_the_full_spread(linear_task: Task) -> None:
    run = Run(linear_task, "cem", plans=2, num_samples=2000)
    np.testing.assert_allclose(run.samples(5)[1:].std(), DEVIATION * 50.0, rtol=0.1)


def ensemble_planner(task: Task, bundle: Bundle, name: str, **settings: object) -> Planner:
    values = {**preset(name), "horizon": HORIZON, "num_samples": 60, "noise_standard_deviation": DEVIATION, **settings}
    return Planner(task, PlannerSettings.from_mapping(values), lambda shape: OnnxEngine(task, bundle, shape))


def test_pets_judges_every_sample_on_every_member(linear_task: Task, linear_bundle: Bundle) -> None:
    """The mean over members that err by a constant is what a model without error says, plus a constant."""
    several = ensemble_planner(linear_task, linear_bundle, "pets").plan(here(), [np.random.default_rng(0)])
    exact = make_planner(linear_task, **{**preset("pets"), "num_samples": 60}).plan(here(), [np.random.default_rng(0)])
    np.testing.assert_allclose(several.controls, exact.controls, rtol=1e-3, atol=1e-3)


def test_icem_keeps_elites_draws_fewer_and_plays_the_best(linear_task: Task) -> None:
    run = Run(linear_task, "icem", plans=2, num_samples=100)
    assert [len(run.samples(call)) for call in range(3)] == [100, 80, 64]
    kept = 3
    for call in range(2):
        cheapest = run.samples(call)[np.argsort(run.costs(call))[:kept]]
        again = run.samples(call + 1)
        for sequence in cheapest:
            assert np.abs(again - sequence).max(axis=(1, 2)).min() < 1e-6
    np.testing.assert_allclose(run.results[0].controls[0], run.samples(2)[np.argmin(run.costs(2))], rtol=1e-6)
    assert not np.allclose(run.results[0].controls, run.results[0].mean)
    # And moved on, they are tried again in the next plan.
    for sequence in run.results[0].elites[0]:
        assert np.abs(run.samples(3)[:, :-1] - sequence[1:]).max(axis=(1, 2)).min() < 1e-6


def test_icem_s_noise_is_smooth(linear_task: Task) -> None:
    for name, expected in (("icem", 0.58), ("cem", 0.0)):
        noise = Run(linear_task, name, num_samples=2000).samples(0)[1:, :, 0]
        neighbours = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
        assert neighbours == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", ["polo", "mopac", "mbpo", "demo_rl"])
def test_the_value_counts_at_the_end(linear_task: Task, linear_bundle_with_value: Bundle, name: str) -> None:
    planner = ensemble_planner(linear_task, linear_bundle_with_value, name)
    result = planner.plan(here(), [np.random.default_rng(0)])
    assert planner.term_names[-1] == "terminal_value"
    assert planner.settings.terminal_weight == 0.0
    # The value is V = 2 position − velocity: the plan's cost ends with −V of its last state.
    state = PLANNED_FROM
    for control in result.controls[0]:
        state = np.array([[1.0, 0.1], [0.0, 1.0]]) @ state + np.array([[0.005], [0.1]]) @ control
    assert result.plan_costs[0, -1] == pytest.approx(-(2.0 * state[0] - state[1]), rel=1e-3, abs=1e-4)


def test_mopac_is_the_softmax_around_the_policy(linear_task: Task) -> None:
    run = Run(linear_task, "mopac", plans=2)
    for call in range(2):
        np.testing.assert_allclose(run.samples(call)[0], policy_controls(PLANNED_FROM), rtol=1e-5)
    samples, costs = run.samples(1), run.costs(1)
    weights = np.exp(-(costs - costs.min()) / (0.1 * costs.std()))
    np.testing.assert_allclose(
        run.result.controls[0], np.einsum("i,iha->ha", weights / weights.sum(), samples), rtol=1e-5
    )


def test_mbpo_takes_no_mirror_step(linear_task: Task) -> None:
    run = Run(linear_task, "mbpo", plans=2, mirror_steps=0)
    assert run.engine.controls == []
    np.testing.assert_allclose(run.result.controls[0], policy_controls(PLANNED_FROM), rtol=1e-9)
    np.testing.assert_allclose(run.result.plan_costs, run.result.nominal_costs, rtol=1e-9)
    assert run.result.path_step[0] == pytest.approx(0.0, abs=1e-12)


def test_topdm_s_plan_is_the_best_sample_and_never_gets_worse(linear_task: Task) -> None:
    run = Run(linear_task, "topdm", plans=3)
    best = [run.costs(call).min() for call in range(15)]
    for call in range(14):
        cheapest = run.samples(call)[np.argmin(run.costs(call))]
        expected = shifted(cheapest) if call % 5 == 4 else cheapest
        np.testing.assert_allclose(run.samples(call + 1)[0], expected, rtol=1e-6, atol=1e-6)
        if call % 5 != 4:
            assert best[call + 1] <= best[call] + 1e-9
    sizes = np.abs(run.samples(0) - run.samples(0)[0]).max(axis=(1, 2))[1:]
    assert sizes.max() > 5.0 * sizes.min()


@pytest.mark.parametrize(("name", "step_size"), [("demo_rl", 0.6), ("demo_layer_thesis", 0.9)])
def test_demo_steps_from_the_policy_towards_the_elites(linear_task: Task, name: str, step_size: float) -> None:
    """The thesis's convex combination: μ = (1 − α) π + α · mean of the elites."""
    run = Run(linear_task, name, plans=2)
    policy = policy_controls(PLANNED_FROM)
    samples, costs = run.samples(1), run.costs(1)
    np.testing.assert_allclose(samples[0], policy, rtol=1e-5)
    expected = (1.0 - step_size) * policy + step_size * elites_of(samples, costs).mean(axis=0)
    np.testing.assert_allclose(run.result.controls[0], expected, rtol=1e-5, atol=1e-6)


def test_the_demo_layer_starts_from_the_cheaper_of_policy_and_plan(linear_task: Task) -> None:
    run = Run(linear_task, "demo_layer", plans=2, num_samples=200)
    policy, plan = policy_controls(PLANNED_FROM), shifted(run.results[0].controls[0])[:-1]
    samples = run.samples(1)
    np.testing.assert_allclose(samples[0], policy, rtol=1e-5)
    np.testing.assert_allclose(samples[1, :-1], plan, rtol=1e-5, atol=1e-6)
    # Half of the samples lie around each.
    for centre, around in ((policy[:-1], samples[::2, :-1]), (plan, samples[1::2, :-1])):
        np.testing.assert_allclose(around.mean(axis=0), centre, atol=1.0)
    np.testing.assert_allclose(run.result.proposal_cost[0], min(run.costs(1)[:2]), rtol=1e-5)


def test_robots_in_one_call_keep_their_own_memory(linear_task: Task) -> None:
    """What is remembered (mean, spread, elites, number of plans) goes with its robot."""
    planner = make_planner(linear_task, **{**preset("icem"), "num_samples": 60, "carry_covariance": True})
    starts, pending = np.array([START, -2.0 * START]), np.stack([PENDING, -PENDING])
    together = planner.plan(situation(starts, pending), [np.random.default_rng(i) for i in range(2)])
    again = planner.plan(
        situation(starts, pending, [together.previous(0, 1), together.previous(1, 2)]),
        [np.random.default_rng(i) for i in range(2)],
    )
    for robot, elapsed in ((0, 1), (1, 2)):
        previous = together.previous(robot, elapsed)
        one = situation(starts[robot : robot + 1], pending[robot : robot + 1], [previous])
        alone = planner.plan(one, [np.random.default_rng(robot)])
        np.testing.assert_allclose(alone.controls[0], again.controls[robot], rtol=1e-9)
        np.testing.assert_allclose(alone.deviation[0], again.deviation[robot], rtol=1e-9)
        assert again.plans[robot] == 2
