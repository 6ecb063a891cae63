"""Samples around centres: by the compiled kernel where there is one, by NumPy elsewhere, with the same bits."""

from __future__ import annotations

import numpy as np

from demo_control.mpc.noise import Float32s, Window
from demo_control.rollout.native.library import installed_kernel
from demo_control.rollout.native.perturbation import perturb as perturb_natively


def perturb(out: Float32s, window: Window, centres: Float32s, limits: tuple[Float32s, Float32s] | None) -> None:
    """Sequences around the centres in turn, each centre itself being the first of its own, cut off at the limits.

    One pass instead of five, and two calls instead of fifteen: the planner's own caches are empty after rollouts.

    Args:
        out: The sequences. Shape=(horizon, num_samples, action_dim).
        window: Noise of all samples.
        centres: Shape=(horizon, num_centres, action_dim).
        limits: Least and greatest, Shape=(action_dim,) each, or None.
    """
    kernel = installed_kernel()
    if kernel is None:
        perturb_by_numpy(out, window, centres, limits)
    else:
        perturb_natively(kernel, out, window, centres, limits)


def perturb_by_numpy(
    out: Float32s, window: Window, centres: Float32s, limits: tuple[Float32s, Float32s] | None
) -> None:
    """See :func:`perturb`."""
    np.multiply(window.noise, window.scales[:, None], out=out)
    if window.held is not None:
        out[:, window.held] = window.noise[:1, window.held] * window.scales[:, None]
    if window.sizes is not None:
        np.multiply(out, window.sizes, out=out)
    num_centres = centres.shape[1]
    for centre in range(num_centres):
        around = out[:, centre::num_centres]
        around += centres[:, centre, None]
        around[:, :1] = centres[:, centre, None]
    if limits is not None:
        # Written out: NumPy is slow where only the few entries of a control lie side by side.
        lowest, highest = (np.repeat(limit[None], out.shape[1], axis=0) for limit in limits)
        np.maximum(out, lowest, out=out)
        np.minimum(out, highest, out=out)
