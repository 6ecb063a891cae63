"""The problems of the sample study against what is known of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from samples import arm, cartpole, obstacles
from samples.closed_loop import HeldScore
from samples.equations import ModelPlants

from demo_control.onnx_graph import GraphBuilder, make_session
from demo_control.rollout.cost_graph import GraphNamespace, GraphValue
from demo_control.tasks import Task

ANGLES = st.floats(-10.0, 10.0)
ARM_STATES = np.random.default_rng(0).normal(size=(20, 4)) * [1.0, 1.0, 3.0, 3.0]
NO_TORQUE = np.zeros((20, 2))


def simulate(states: np.ndarray, torques: np.ndarray, duration_s: float, period_s: float) -> np.ndarray:
    for _ in range(round(duration_s / period_s)):
        states = arm.step(states, torques, period_s)
    return states


class TestArm:
    def test_energy_stays_without_friction_and_torque(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(arm, "FRICTION_NMS", 0.0)
        after = simulate(ARM_STATES, NO_TORQUE, 2.0, 0.001)
        np.testing.assert_allclose(arm.energy(after), arm.energy(ARM_STATES), atol=1e-5)

    def test_friction_takes_energy_and_torque_brings_its_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert (arm.energy(simulate(ARM_STATES, NO_TORQUE, 1.0, 0.001)) < arm.energy(ARM_STATES)).all()
        monkeypatch.setattr(arm, "FRICTION_NMS", 0.0)
        torques = np.tile([3.0, -2.0], (20, 1))
        after = simulate(ARM_STATES, torques, 1.0, 0.001)
        work = ((after - ARM_STATES)[:, :2] * torques).sum(axis=1)
        np.testing.assert_allclose(arm.energy(after) - arm.energy(ARM_STATES), work, rtol=1e-5, atol=1e-5)

    @given(ANGLES)
    def test_mass_matrix_is_symmetric_and_positive_definite(self, elbow: float) -> None:
        matrix = arm.mass_matrix(np.array(elbow))
        np.testing.assert_allclose(matrix, matrix.T)
        assert np.linalg.eigvalsh(matrix).min() > 0.0

    def test_mass_matrix_of_a_stretched_arm_is_that_of_one_rod(self) -> None:
        # Turning both links as one: a rod of twice the length and mass about its end.
        assert arm.mass_matrix(np.array(0.0))[0, 0] == pytest.approx(2.0 * arm.MASS_KG * (2.0 * arm.LENGTH_M) ** 2 / 3)

    @pytest.mark.parametrize("angles", [(0.0, 0.0), (np.pi, 0.0), (0.0, np.pi), (np.pi, np.pi)])
    def test_upright_and_hanging_links_are_at_rest(self, angles: tuple[float, float]) -> None:
        states = np.array([[*angles, 0.0, 0.0]])
        np.testing.assert_allclose(arm.step(states, np.zeros((1, 2))), states, atol=1e-12)

    def test_gravity_is_what_holds_the_arm_out_level(self) -> None:
        level = np.array([[np.pi / 2.0, 0.0, 0.0, 0.0]]).T
        whole = 2.0 * arm.MASS_KG * arm.GRAVITY_MPS2 * arm.LENGTH_M
        fore = arm.MASS_KG * arm.GRAVITY_MPS2 * arm.LENGTH_M / 2.0
        held = arm.accelerations(level, -np.array([[whole], [fore]]))
        np.testing.assert_allclose(held, 0.0, atol=1e-12)
        assert whole > arm.TORQUE_LIMITS_NM[0]

    def test_discretisation_converges_with_the_fourth_order(self) -> None:
        torques = np.tile([2.0, -1.0], (20, 1))
        exact = simulate(ARM_STATES, torques, 0.4, 0.0005)
        coarse, fine = (np.abs(simulate(ARM_STATES, torques, 0.4, step) - exact).max() for step in (0.04, 0.02))
        assert 10.0 < coarse / fine < 24.0

    def test_torques_are_limited(self) -> None:
        beyond = arm.step(ARM_STATES, np.full((20, 2), 1e6))
        np.testing.assert_array_equal(beyond, arm.step(ARM_STATES, np.tile(arm.TORQUE_LIMITS_NM, (20, 1))))

    def test_the_hand_is_near_upright_only(self) -> None:
        assert arm.is_near(np.array([0.05, -0.05, 0.0, 0.0]))
        assert arm.is_near(np.array([2.0 * np.pi, 0.0, 0.0, 0.0]))
        assert not arm.is_near(np.array([0.0, np.pi, 0.0, 0.0]))
        assert not arm.is_near(np.array([np.pi, 0.0, 0.0, 0.0]))


class TestObstacles:
    @given(hnp.arrays(float, (1, 4), elements=st.floats(-3.0, 3.0)), st.integers(1, 30))
    def test_constant_push_gives_a_parabola(self, states: np.ndarray, steps: int) -> None:
        push = np.array([[1.0, -0.5]])
        time_s, after = steps * obstacles.PERIOD_S, states
        for _ in range(steps):
            after = obstacles.step(after, push)
        position = states[:, :2] + states[:, 2:] * time_s + 0.5 * push * time_s**2
        np.testing.assert_allclose(after[:, :2], position, atol=1e-9)
        np.testing.assert_allclose(after[:, 2:], states[:, 2:] + push * time_s, atol=1e-9)

    def test_pushes_are_limited(self) -> None:
        after = obstacles.step(np.zeros((1, 4)), np.array([[1e3, -1e3]]))
        speed = obstacles.ACCELERATION_LIMIT_MPS2 * obstacles.PERIOD_S
        np.testing.assert_allclose(after[0, 2:], [speed, -speed])

    def test_the_way_through_a_disc_is_a_collision_even_when_both_ends_are_free(self) -> None:
        x, y, radius = obstacles.OBSTACLES_M[0]
        left, right = (np.array([[x + side * (radius + 0.1), y, 0.0, 0.0]]) for side in (-1.0, 1.0))
        assert obstacles.collides(left, right).all()
        assert obstacles.collides(left, np.array([[x, y, 0.0, 0.0]])).all()
        assert not obstacles.collides(left, left).any()
        assert not obstacles.collides(left, left - np.array([0.5, 0.0, 0.0, 0.0])).any()

    def test_nearness_costs_from_the_margin_on_and_rises_inwards(self) -> None:
        task = obstacles.task()
        column = [term.name for term in task.cost_terms].index("nearness")
        x, y, radius = obstacles.OBSTACLES_M[5]

        def cost(distance: float) -> float:
            state = np.array([x + distance, y, 0.0, 0.0])
            return float(task.stage_costs(state, np.zeros(2))[column])

        assert cost(radius + 1.01 * obstacles.MARGIN_M) == 0.0
        assert cost(radius) == pytest.approx(1.0)
        costs = [cost(share * radius) for share in (1.2, 1.0, 0.5, 0.0)]
        assert costs == sorted(costs)

    def test_starts_and_goal_are_free(self) -> None:
        starts = np.array([obstacles.start(np.random.default_rng(seed)) for seed in range(200)])
        goal = np.array([[*obstacles.GOAL_M, 0.0, 0.0]])
        assert not obstacles.collides(starts, starts).any()
        assert not obstacles.collides(goal, goal).any()
        assert obstacles.is_near(goal[0])
        assert not any(obstacles.is_near(start) for start in starts)

    def test_waiting_costs_less_than_a_collision(self) -> None:
        task = obstacles.task()
        starts = np.array([obstacles.start(np.random.default_rng(seed)) for seed in range(50)])
        waiting = task.stage_costs(starts, np.zeros((50, 2))) @ task.cost_weights
        assert waiting.max() < obstacles.COLLISION_COST


@pytest.mark.parametrize("task", [arm.task(), obstacles.task()], ids=lambda task: str(task.name))
def test_costs_are_the_same_in_a_graph(task: Task) -> None:
    generator = np.random.default_rng(0)
    x, u = (generator.normal(size=(50, size)).astype(np.float32) for size in (task.observation_dim, task.action_dim))
    x[:, :2] *= 3.0
    graph = GraphBuilder("costs")
    quantities = [*task.observation, *task.action]
    columns = {q.name: GraphValue(graph, graph.input(q.name, ("batch",))) for q in quantities}
    for term in task.cost_terms:
        graph.output(f"cost_{term.name}", term.function(columns, columns, GraphNamespace()).name, ("batch",))
    values = np.concatenate([x, u], axis=1).T
    inputs = {quantity.name: column for quantity, column in zip(quantities, values, strict=True)}
    costs = np.array(make_session(graph.build()).run(None, inputs)).T
    np.testing.assert_allclose(costs, task.stage_costs(x, u), rtol=1e-3, atol=1e-4)


def test_cartpole_model_is_the_plant() -> None:
    generator = np.random.default_rng(0)
    plants = cartpole.make_plants(cartpole.TRUE_PERIOD_S, 5)
    observations = plants.reset([np.random.default_rng(index) for index in range(5)])
    for _ in range(20):
        forces = generator.uniform(-10.0, 10.0, (5, 1))
        predicted = cartpole.step(observations, forces)
        observations, _ = plants.step(forces)
        np.testing.assert_allclose(predicted, observations, atol=1e-12)


class TestModelPlants:
    def make(self) -> ModelPlants:
        plants = ModelPlants(
            2, lambda x, u: x + u, lambda generator: generator.normal(size=1), lambda _before, after: after[:, 0] > 5.0
        )
        plants.reset([np.random.default_rng(index) for index in range(2)])
        return plants

    def test_failed_plants_stay_where_they_are(self) -> None:
        plants = self.make()
        first, failed = plants.step(np.array([[10.0], [1.0]]))
        assert failed.tolist() == [True, False]
        second, failed = plants.step(np.array([[-10.0], [1.0]]))
        assert failed.tolist() == [True, False]
        assert second[0] == first[0]
        assert second[1] == first[1] + 1.0

    def test_actions_that_are_no_numbers_are_failures(self) -> None:
        plants = self.make()
        before = plants.true_observations()
        after, failed = plants.step(np.array([[np.nan], [0.0]]))
        assert failed.tolist() == [True, False]
        np.testing.assert_array_equal(after, before)


class TestHeldScore:
    @pytest.mark.parametrize(
        ("values", "failed", "success"),
        [
            ([0, 0, 1, 1, 1], False, True),
            ([1, 1, 1, 0, 1], False, False),
            ([0, 0, 0, 1, 1], False, False),
            ([1, 1, 1, 1], False, False),
            ([1, 1, 1, 1, 1], True, False),
        ],
    )
    def test_success_needs_the_end_and_no_failure(self, values: list[int], failed: bool, success: bool) -> None:
        score = HeldScore(lambda observation: bool(observation[0]), 0.5, 0.2)
        for index, value in enumerate(values):
            score.update(0.1 * (index + 1), np.array([value]), failed and index == 1)
        assert score.result() == {"success": success}

    def test_nothing_seen_is_no_success(self) -> None:
        assert HeldScore(lambda _: True, 1.0, 1.0).result() == {"success": False}
