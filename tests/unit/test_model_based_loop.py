"""The loop of DeMoRL, MBPO, MoPAC and SAC on a mass whose equations are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from demo_control.bundle import load_bundle, make_bundle, save_bundle  # noqa: E402
from demo_control.configuration import ConfigurationError, Scalar  # noqa: E402
from demo_control.experiments.training import EvaluationSettings, Record, RunRequest  # noqa: E402
from demo_control.learning.ensemble import Ensemble, NetworkSettings, Scaling  # noqa: E402
from demo_control.learning.environments import Problem  # noqa: E402
from demo_control.learning.export import dynamics_model  # noqa: E402
from demo_control.learning.model_based import trainer  # noqa: E402
from demo_control.learning.model_based.evaluation import evaluate  # noqa: E402
from demo_control.learning.model_based.imagination import roll_through_model  # noqa: E402
from demo_control.learning.model_based.loop import ModelBasedLearner  # noqa: E402
from demo_control.learning.model_based.planning import ModelPlanner, Plans, followed  # noqa: E402
from demo_control.learning.model_based.planning_problem import planning_observations, planning_task  # noqa: E402
from demo_control.learning.model_based.settings import TrainerSettings  # noqa: E402
from demo_control.learning.sac import RowLayout, SacSettings, SoftActorCritic  # noqa: E402
from demo_control.learning.sac.export import policy_model, value_model  # noqa: E402
from demo_control.tasks import Array  # noqa: E402

from .learning_problem import column_margin, column_reward, following, mass_problem, reward, terminated  # noqa: E402

pytestmark = pytest.mark.train


class Stop(KeyboardInterrupt):
    pass


LAYOUT = RowLayout(2, 1)
SMALL: Mapping[str, Scalar] = {
    "sac.hidden_units": 16, "sac.batch_size": 16, "loop.initial_steps": 40, "loop.model_interval": 40,
    "loop.updates_per_step": 1, "loop.start_states": 12, "loop.trust_starts": 4, "loop.trust_steps": 6,
    "model.hidden_units": 16, "model.hidden_layers": 1, "model.first_steps": 60, "model.steps": 20,
    "model.num_members": 3, "model.num_elites": 2, "planner.num_samples": 16, "planner.horizon": 3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_graph() -> object:
    with torch.no_grad():
        yield


def make_learner(seed: int = 0) -> SoftActorCritic:
    return SoftActorCritic(LAYOUT, SacSettings(hidden_units=16, batch_size=16), seed)


def perfect_model(problem: Problem, members: int = 2, push: float = 1.0, log_variance: float = -40.0) -> Ensemble:
    """Members that say exactly what the equations say, a tanh being as good as linear for small inputs."""
    task = planning_task(problem)
    small = 1e-3
    first = torch.zeros((members, 3, 3))
    head = torch.zeros((members, 3, 2))
    for i in range(3):
        first[:, i, i] = small
    head[:, 1, 0] = 0.2 / small  # the place changes with the speed,
    head[:, 2, 1] = push * 0.2 / small  # and the speed with the push
    bounds = torch.full((members, 1, 2), log_variance)
    parameters = {
        "weight_0": first, "bias_0": torch.zeros((members, 1, 3)), "mean_weight": head,
        "mean_bias": torch.zeros((members, 1, 2)), "spread_weight": torch.zeros((members, 3, 2)),
        "spread_bias": torch.zeros((members, 1, 2)), "lower": bounds, "upper": bounds,
    }  # fmt: skip
    settings = NetworkSettings(members, members, 1, 3, "tanh")
    scaling = Scaling(np.zeros(3), np.ones(3), np.zeros(2), np.ones(2))
    return Ensemble(task, settings, scaling, parameters)


def make_planner(
    ensemble: Ensemble, learner: SoftActorCritic, method: str, **settings: Scalar
) -> tuple[ModelPlanner, TrainerSettings]:
    problem = mass_problem()
    small = {"planner.num_samples": 20, "planner.horizon": 4, "model.num_elites": 2}
    chosen = TrainerSettings.from_mapping({"loop.method": method, **small, **settings})
    return ModelPlanner(problem, ensemble.task, ensemble, learner, chosen.planner), chosen


def starts(count: int, seed: int = 0) -> Array:
    return planning_observations(np.random.default_rng(seed).uniform(-1.0, 1.0, (count, 2)))


def test_columns_are_the_functions() -> None:
    generator = np.random.default_rng(0)
    x, u = generator.uniform(-3, 3, (50, 2)), generator.uniform(-1.5, 1.5, (50, 1))
    x_next = following(x, u)
    columns = [list(values.T) for values in (x, u, x_next)]
    np.testing.assert_allclose(column_reward(*columns, np), reward(x, u, x_next))
    assert np.array_equal(column_margin(columns[2], np) <= 0.0, terminated(x_next))


def test_imagined_transitions_of_mbpo_are_the_environments() -> None:
    """With a model that is right, what MBPO stores is what the environment would have done, to rounding."""
    problem, learner = mass_problem(), make_learner()
    model, x = perfect_model(problem), starts(20)
    planner, _ = make_planner(model, learner, "mbpo")
    plans = planner.plan(x, np.random.default_rng(1))
    np.testing.assert_allclose(plans.controls, plans.answers, atol=1e-6)
    assert np.abs(plans.gains).max() < 1e-4
    rows = roll_through_model(
        problem, model, learner, x, plans, np.ones(20), "policy_along_plan", 0.0, np.random.default_rng(2)
    )
    before, u = rows[:, LAYOUT.observation].astype(float), 1.5 * rows[:, LAYOUT.action].astype(float)
    x_next = following(before, u)
    np.testing.assert_allclose(rows[:, LAYOUT.next_observation], x_next, atol=1e-4)
    np.testing.assert_allclose(rows[:, LAYOUT.reward], reward(before, u, x_next), atol=1e-3)
    assert np.array_equal(rows[:, LAYOUT.terminated] > 0.5, terminated(x_next))
    # And its actions are draws from the policy at these states.
    noise = np.arctanh(rows[:, LAYOUT.action].clip(-0.999, 0.999)) - np.arctanh(learner.act(before))
    assert 0.3 < np.abs(noise).mean() < 3.0


def test_an_episode_that_ended_in_imagination_is_not_gone_on_with() -> None:
    problem, learner = mass_problem(), make_learner()
    model = perfect_model(problem)
    x = planning_observations(np.array([[1.9, 2.0], [0.0, 0.0]]))
    controls = np.zeros((2, 3, 1))
    plans = Plans(controls, controls, np.zeros(2), np.zeros(2), np.zeros(2))
    all_of_them = np.ones(2)
    rows = roll_through_model(problem, model, learner, x, plans, all_of_them, "plan", 0.0, np.random.default_rng(0))
    assert len(rows) == 1 + 3
    assert rows[:, LAYOUT.terminated].sum() == 1.0


def test_a_stored_plan_is_the_plan() -> None:
    problem, learner = mass_problem(), make_learner()
    model, x = perfect_model(problem), starts(4)
    controls = np.random.default_rng(3).uniform(-1.0, 1.0, (4, 2, 1))
    plans = Plans(controls, 0.0 * controls, np.zeros(4), np.zeros(4), np.zeros(4))
    weights = np.array([1.0, 1.0, 0.25, 0.0])
    rows = roll_through_model(problem, model, learner, x, plans, weights, "plan", 0.0, np.random.default_rng(0))
    for step in range(2):
        these, planned = rows[4 * step : 4 * step + 4], controls[:, step] / 1.5
        np.testing.assert_allclose(these[:2, LAYOUT.action], planned[:2], rtol=1e-6)
        # Where the plan is not followed the policy is, from the state that it has come to.
        answers = learner.act(these[:, LAYOUT.observation])
        np.testing.assert_allclose(these[2:, LAYOUT.action][1:], answers[3:], rtol=1e-5)
        np.testing.assert_allclose(these[2, LAYOUT.action], 0.25 * planned[2] + 0.75 * answers[2], rtol=1e-5)


def test_noise_that_is_added_to_imagined_actions_is_as_wide_as_asked_for_and_is_acted_out() -> None:
    controls = np.full((2000, 1, 1), 0.75)
    plans = Plans(controls, controls, np.zeros(2000), np.zeros(2000), np.zeros(2000))
    by_half_a_range = (mass_problem(), perfect_model(mass_problem()), make_learner(), starts(2000), plans)
    rows = roll_through_model(*by_half_a_range, np.ones(2000), "plan", 0.2, np.random.default_rng(4))
    share = rows[:, LAYOUT.action].astype(float)
    # The upper end of the range, 2.5 deviations away, cuts off next to nothing.
    assert (share.max(), share.mean(), share.std()) == pytest.approx((1.0, 0.5, 0.2), abs=0.01)
    x_next = following(rows[:, LAYOUT.observation].astype(float), 1.5 * share)
    np.testing.assert_allclose(rows[:, LAYOUT.next_observation], x_next, atol=1e-4)


def test_the_loop_adds_the_noise_that_is_set() -> None:
    rows = {}
    for noise in (0.0, 0.3):
        settings = TrainerSettings.from_mapping({**SMALL, "loop.method": "demo_rl", "loop.imagined_noise": noise})
        learner = ModelBasedLearner(mass_problem(), settings, 0, 60)
        while not len(learner.imagined):
            learner.step(lambda *_: None)
        rows[noise] = learner.imagined.rows[:12]
    assert np.array_equal(rows[0.0][:, LAYOUT.observation], rows[0.3][:, LAYOUT.observation])
    assert 0.1 < np.abs(rows[0.3][:, LAYOUT.action] - rows[0.0][:, LAYOUT.action]).mean() < 0.4


@pytest.mark.parametrize("method", ["mopac", "demo_rl"])
def test_plans_gain_what_they_promise_on_a_model_that_is_right(method: str) -> None:
    """The return of the plan, with the critics' value at its end, less that of the policy."""
    problem, learner = mass_problem(), make_learner()
    planner, settings = make_planner(perfect_model(problem), learner, method)
    x = starts(30)
    plans = planner.plan(x, np.random.default_rng(1))
    assert plans.gains.mean() > 0.0

    def discounted(act: Any) -> Array:  # noqa: ANN401
        states, total, alive = x[:, :2], np.zeros(len(x)), np.ones(len(x))
        for step in range(4):
            u = act(step, states)
            x_next = following(states, u)
            total += alive * 0.99**step * reward(states, u, x_next)
            states = np.where(alive[:, None] > 0, x_next, states)
            alive = alive * ~terminated(x_next)
        joined = torch.from_numpy(np.hstack([states, learner.act(states)]).astype(np.float32))[None]
        value = learner.critics.forward(joined).sums[-1].amin(dim=0)[:, 0].numpy()
        return np.asarray(total + alive * 0.99**4 * value)

    gains = discounted(lambda step, _: plans.controls[:, step]) - discounted(lambda _, s: 1.5 * learner.act(s))
    # The factor: costs count a step's reward at the state behind it; see planning_problem.py.
    np.testing.assert_allclose(plans.gains, settings.sac.discount * gains, atol=2e-3)
    np.testing.assert_allclose(planner.member_gains(x, plans.controls), np.tile(plans.gains, (2, 1)), atol=2e-3)


@pytest.mark.parametrize("terminal_weight", [0.0, 0.4, 3.0])
def test_gains_of_members_weigh_the_last_step_as_plans_do(terminal_weight: float) -> None:
    """Against sums by hand on two models: the last state's cost has the weight, the value behind it has its own."""
    problem, learner = mass_problem(), make_learner()
    model = perfect_model(problem)
    model.parameters["mean_weight"][1] *= torch.tensor([1.0, 0.5])  # the second member's push does half as much
    chosen: dict[str, Scalar] = {"planner.terminal_weight": terminal_weight, "planner.value_weight": 0.7}
    planner, settings = make_planner(model, learner, "demo_rl", **chosen)
    x, horizon, discount = starts(12), 4, settings.planner.discount
    controls = np.random.default_rng(5).uniform(-1.5, 1.5, (12, horizon, 1))

    def returns(push: float, act: Any) -> Array:  # noqa: ANN401
        states, total, alive = x[:, :2], np.zeros(len(x)), np.ones(len(x))
        for step in range(1, horizon + 1):
            u = act(step - 1, states)
            x_next = following(states, push * u)
            weight = terminal_weight if step == horizon else 1.0
            total += alive * weight * discount**step * reward(states, u, x_next)
            states = np.where(alive[:, None] > 0, x_next, states)
            alive = alive * ~terminated(x_next)
        joined = torch.from_numpy(np.hstack([states, learner.act(states)]).astype(np.float32))[None]
        value = learner.critics.forward(joined).sums[-1].amin(dim=0)[:, 0].numpy()
        return np.asarray(total + alive * 0.7 * discount**horizon * value)

    found = planner.member_gains(x, controls)
    for member, push in enumerate((1.0, 0.5)):
        planned = returns(push, lambda step, _: controls[:, step])
        alone = returns(push, lambda _, states: 1.5 * learner.act(states))
        np.testing.assert_allclose(found[member], planned - alone, atol=3e-3)
    # Where all members agree it is what the planner itself says of its plans.
    planner, _ = make_planner(perfect_model(problem), learner, "demo_rl", **chosen)
    plans = planner.plan(x, np.random.default_rng(1))
    np.testing.assert_allclose(planner.member_gains(x, plans.controls), np.tile(plans.gains, (2, 1)), atol=3e-3)


def test_gates() -> None:
    problem, learner = mass_problem(), make_learner()
    model = perfect_model(problem)
    # The second member believes that a push drives the other way.
    model.parameters["mean_weight"][1] *= torch.tensor([1.0, -1.0])
    planner, _ = make_planner(model, learner, "demo_rl")
    x = starts(8)
    plans = planner.plan(x, np.random.default_rng(0))
    bad = replace(plans, controls=plans.controls.copy(), disagreement=np.arange(8.0))
    bad.controls[3] = np.nan
    assert followed(bad, planner, x, "none", 0.5).tolist() == [i != 3 for i in range(8)]
    assert followed(bad, planner, x, "disagreement", 0.5).tolist() == [True, True, True, False, True, *[False] * 3]
    members = followed(plans, planner, x, "members", 0.5)
    gains = planner.member_gains(x, plans.controls)
    assert np.array_equal(members, (gains > 0.0).all(axis=0))
    assert not members.all()
    votes = followed(plans, planner, x, "votes", 0.5)
    assert np.array_equal(votes, (gains > 0.0).mean(axis=0))
    assert ((votes > 0.0) & (votes < 1.0)).any()
    # A share is a number of plans: none for 0, however alike they are.
    assert [int(followed(bad, planner, x, "disagreement", share).sum()) for share in (0.0, 0.25, 1.0)] == [0, 2, 7]
    assert not followed(replace(plans, disagreement=np.zeros(8)), planner, x, "disagreement", 0.0).any()
    unknown = replace(plans, disagreement=np.full(8, np.nan))
    assert not followed(unknown, planner, x, "disagreement", 0.5).any()


def test_evaluations_start_alike() -> None:
    problem, learner = mass_problem(), make_learner()
    first = evaluate(problem, learner, 6, seed=3)
    assert np.array_equal(first, evaluate(problem, learner, 6, seed=3))
    assert not np.array_equal(first, evaluate(problem, learner, 6, seed=4))


@pytest.mark.parametrize("name", ["reward", "alive"])
def test_an_entry_with_the_name_of_an_added_one_is_refused(name: str) -> None:
    problem = replace(mass_problem(), observation_names=("place", name))
    message = f"problem 'mass': observation_names = place, {name}: must not have {name}, .* planning adds"
    with pytest.raises(ConfigurationError, match=message):
        planning_task(problem)
    with pytest.raises(ConfigurationError, match=message):
        ModelBasedLearner(problem, TrainerSettings.from_mapping(SMALL), 0, 100)


@pytest.mark.parametrize("reward_known", [True, False])
def test_a_bundle_of_such_a_model_is_saved_and_loaded(reward_known: bool, tmp_path: Path) -> None:
    problem, learner = mass_problem(reward_known=reward_known), make_learner()
    task = planning_task(problem)
    assert task.transition is not None
    assert ("reward" in task.transition.outputs) is not reward_known
    generator = np.random.default_rng(0)
    x, u = planning_observations(generator.uniform(-1, 1, (60, 2))), generator.uniform(-1, 1, (60, 1))
    x_next = planning_observations(following(x[:, :2], u))
    x_next[:, 2] = reward(x, u, x_next)
    settings = TrainerSettings.from_mapping(SMALL)
    learning = ModelBasedLearner(problem, settings, 0, 100)
    ensemble, _ = learning.fitter.refit(x, u, x_next, generator)
    bundle = make_bundle(
        task,
        policy=policy_model(learner, problem.action_minimum, problem.action_maximum, 4),
        dynamics=dynamics_model(ensemble),
        value=value_model(learner, 4, 3),
    )
    save_bundle(bundle, tmp_path / "bundle", "A card.")
    assert load_bundle(tmp_path / "bundle", task).contract == bundle.contract


def test_schedules() -> None:
    schedule: Mapping[str, Scalar] = {
        "loop.real_share": 0.2, "loop.real_share_last": 0.8, "loop.first_horizon": 1, "loop.horizon_steps": 100,
    }  # fmt: skip
    settings = TrainerSettings.from_mapping({**SMALL, **schedule})
    learner = ModelBasedLearner(mass_problem(), settings, 0, 200)
    assert (learner.real_share(), learner.horizon()) == (0.2, 1)
    learner.step_count = 100
    assert (learner.real_share(), learner.horizon()) == (pytest.approx(0.5), 3)


def test_episodes_are_broken_off_and_not_taken_for_ended() -> None:
    """The next one begins anew, and what was reached has a future: its transition is no termination."""
    settings = TrainerSettings.from_mapping({**SMALL, "loop.initial_steps": 30, "loop.episode_steps": 7})
    learner = ModelBasedLearner(mass_problem(), settings, 0, 30)
    for _ in range(29):
        learner.act()
    rows, layout = learner.real.rows, learner.learner.layout
    assert not rows[:, layout.terminated].any()
    begins = (rows[1:, layout.observation] != rows[:-1, layout.next_observation]).any(axis=1)
    assert (np.flatnonzero(begins) + 1).tolist() == [7, 14, 21, 28]
    assert (learner.episode, learner.episode_began) == (4, 28)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loop.method": "ppo"}, "loop: LoopSettings.method = 'ppo': must be one of sac, mbpo, mopac, demo_rl"),
        ({"lop.method": "sac"}, "setting 'lop.method': its group must be one of loop, sac, model, planner"),
        ({"sac.batchsize": 3}, "did you mean 'batch_size'"),
        ({"planner.num_samples": 10}, "planner.num_samples = 10: must be a multiple of model.num_elites = 4"),
        ({"model.num_elites": 9}, "must be at most num_members = 5"),
    ],
)
def test_wrong_settings_are_named(values: Mapping[str, Scalar], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TrainerSettings.from_mapping(values)


REQUEST = RunRequest("mass", 5, 130, SMALL, EvaluationSettings(every_steps=25, episodes=3))


def told(records: list[Record]) -> list[tuple[str, int, Mapping[str, float]]]:
    return [(record.kind, record.step, record.values) for record in records]


@pytest.fixture
def mass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "gymnasium_problem", lambda _: mass_problem(reward_known=False))


@pytest.mark.usefixtures("mass")
@pytest.mark.parametrize("method", ["sac", "mbpo", "mopac", "demo_rl"])
def test_one_seed_one_result_however_often_interrupted(method: str, tmp_path: Path) -> None:
    request = replace(REQUEST, settings={**SMALL, "loop.method": method, "loop.episode_steps": 11})
    whole = trainer.train(request, tmp_path / "whole", lambda _: None)
    kinds = {record.kind for record in whole}
    assert kinds == ({"evaluation", "learner"} | ({"model", "plan"} if method != "sac" else set()))

    settings = TrainerSettings.from_mapping(request.settings)
    path = tmp_path / "parts" / trainer.CHECKPOINT
    for stop_after in (3, 7):

        def press(record: Record, calls: list[Record], last: int = stop_after) -> None:
            calls.append(record)
            if len(calls) == last:
                raise Stop

        calls: list[Record] = []
        run = trainer.TrainingRun(request, settings, lambda record, calls=calls: press(record, calls))
        if path.exists():
            run.restore(path)
        with pytest.raises(Stop):
            run.run(path, interval_s=0.0)
    parts = trainer.train(request, tmp_path / "parts", lambda _: None)
    assert told(parts) == told(whole)
    again = trainer.train(request, tmp_path / "parts", lambda _: None)
    assert again == parts


@pytest.mark.usefixtures("mass")
def test_a_run_stops_when_it_is_good_enough(tmp_path: Path) -> None:
    request = replace(REQUEST, evaluation=replace(REQUEST.evaluation, stop_return=-1e9, stop_in_a_row=2))
    records = trainer.train(request, tmp_path, lambda _: None)
    assert [record.step for record in records if record.kind == "evaluation"] == [25, 50]


@pytest.mark.usefixtures("mass")
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    short = replace(REQUEST, steps=30)
    trainer.train(short, tmp_path, lambda _: None)
    with pytest.raises(ConfigurationError, match="is of another request"):
        trainer.train(replace(short, seed=6), tmp_path, lambda _: None)
    path = tmp_path / trainer.CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        trainer.train(short, tmp_path, lambda _: None)
