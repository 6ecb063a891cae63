"""What an update of augmented random search does to the parameters.

The search estimates a direction of ascent g: the paper's, divided by the deviation of the returns. Plainly,
x ← x + α g. The thesis (chapter 2, on augmented random search) adds "an acceleration based gradient estimate" with "the
small and large step sizes" α and β and leaves its validation to future work. The formula did not survive in the text we
have; here it is the coupling of two sequences (Allen-Zhu and Orecchia, *Linear coupling*, ITCS 2017), with g estimated
at x_t and β named γ:

    y_{t+1} = x_t + α g            a small step
    z_{t+1} = z_t + γ g            a large step of a sequence of its own
    x_{t+1} = (1 − τ) y_{t+1} + τ z_{t+1}

With γ = α it is the plain update. A single estimate moves x by ((1 − τ) α + τ γ) g at once, and by γ g in the end:
along a direction in which g stays the same, x moves by γ g per update.

On a quadratic of curvature h, g = −h x, an update is linear in (x, z), and both converge if and only if

    α h < 2 (2 − τ) / (2 (1 − τ) + τ γ / α),        for the plain update α h < 2

(the characteristic polynomial λ² − t λ + d with d = (1 − τ)(1 − α h) and t = d + 1 − τ γ h has its roots inside the
unit circle). With γ = 5 α that is 1.65 at τ = 0.1 and 1.38 at τ = 0.2, for about as many updates along the directions
of low curvature; a test has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo_control.learning.ars_settings import UpdateSettings
from demo_control.tasks import Array

_SMALLEST_DEVIATION = 1e-12


@dataclass(frozen=True)
class Iterate:
    """Where a search stands.

    Attributes:
        parameters: x, of the policy. Shape=(action_dim, observation_dim + 1).
        leading: z, the sequence with large steps; without acceleration the parameters. Shape as theirs.
    """

    parameters: Array
    leading: Array

    def updated(self, settings: UpdateSettings, directions: Array, up: Array, down: Array) -> Iterate:
        """One update.

        Args:
            settings: See :class:`UpdateSettings`.
            directions: That were tried. Shape=(num_directions, *parameters).
            up: Returns of the parameters plus the directions. Shape=(num_directions,).
            down: The same minus the directions. Shape=(num_directions,).
        """
        small = self.parameters + ascent(settings, settings.step_size, directions, up, down)
        if settings.acceleration == "none":
            return Iterate(small, small)
        large_step = settings.step_size * settings.large_step_ratio
        leading = self.leading + ascent(settings, large_step, directions, up, down)
        return Iterate((1 - settings.coupling) * small + settings.coupling * leading, leading)


def ascent(settings: UpdateSettings, step_size: float, directions: Array, up: Array, down: Array) -> Array:
    """The paper's step, alpha / (b sigma_R) x sum of (r+ - r-) delta over the b best."""
    num_used = settings.num_used
    best_first = np.argsort(-np.maximum(up, down), kind="stable")[:num_used]
    up, down = up[best_first], down[best_first]
    deviation = float(np.concatenate([up, down]).std())
    if deviation < _SMALLEST_DEVIATION:  # all scored alike: no information
        return np.zeros(directions.shape[1:])
    step = np.tensordot(up - down, directions[best_first], axes=1)
    return np.asarray(step * (step_size / (num_used * deviation)))
