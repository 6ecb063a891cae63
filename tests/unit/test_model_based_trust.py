"""Plans tried in the true environment, on a mass whose equations are known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from demo_control.learning.model_based.trust import measure_trust  # noqa: E402
from demo_control.learning.sac import RowLayout, SacSettings, SoftActorCritic  # noqa: E402
from demo_control.tasks import Array  # noqa: E402

from .learning_problem import following, mass_problem, reward, terminated  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def no_graph() -> object:
    with torch.no_grad():
        yield


def make_learner() -> SoftActorCritic:
    return SoftActorCritic(RowLayout(2, 1), SacSettings(hidden_units=16, batch_size=16), 0)


def test_a_plan_that_is_the_policys_own_gains_nothing() -> None:
    problem, learner = mass_problem(), make_learner()
    states = np.column_stack([np.random.default_rng(0).uniform(-1, 1, (5, 2)), np.zeros(5)])
    x, controls = states[:, :2], np.zeros((5, 3, 1))
    for step in range(3):
        controls[:, step] = 1.5 * learner.act(x)
        x = following(x, controls[:, step])
    trust = measure_trust(problem, learner, states, controls, np.ones(5), 10)
    assert trust.realised_gain == pytest.approx(0.0, abs=1e-6)
    assert trust.predicted_gain == 1.0


def test_trust_near_the_end_of_an_episode() -> None:
    """Sums by hand: what would come behind the time limit or a termination counts for nobody."""
    problem, learner = mass_problem(), make_learner()
    # One and three steps before the time limit of 30, at the edge (its plan runs over it, the policy too or not), free.
    states = np.array([[0.5, -0.5, 29.0], [0.5, -0.5, 27.0], [1.7, 1.0, 0.0], [0.2, 0.1, 5.0]])
    controls = np.random.default_rng(2).uniform(-1.5, 1.5, (4, 5, 1))

    def total(start: Array, plan: Array) -> tuple[float, int]:
        x, found = start[:2], 0.0
        for step in range(8):
            u = plan[step] if step < len(plan) else 1.5 * learner.act(x[None])[0]
            x_next = following(x, u)
            found += float(reward(x, u, x_next))
            if terminated(x_next) or start[2] + step + 1 >= 30:
                return found, step + 1
            x = x_next
        return found, 8

    planned, alone = ([total(start, plan) for start, plan in zip(states, plans, strict=True)]
                      for plans in (controls, controls[:, :0]))  # fmt: skip
    lengths = [length for _, length in planned]
    assert (lengths[:2], lengths[3]) == ([1, 3], 8)
    assert lengths[2] < 5
    differences = np.array([one - other for (one, _), (other, _) in zip(planned, alone, strict=True)])
    gains = np.array([1.0, -2.0, 3.0, 0.5])
    trust = measure_trust(problem, learner, states, controls, gains, 8)
    assert trust.realised_gain == pytest.approx(differences.mean(), abs=1e-6)
    assert trust.truly_better == (differences > 0.0).mean()
    assert trust.predicted_gain == pytest.approx(gains.mean())
    # Each by itself too: none takes another's plan when some are over.
    for i, difference in enumerate(differences):
        one = measure_trust(problem, learner, states[i : i + 1], controls[i : i + 1], gains[i : i + 1], 8)
        assert one.realised_gain == pytest.approx(difference, abs=1e-6)
