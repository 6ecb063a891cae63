"""Samples by the kernel have the bits of those by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from demo_control.mpc.noise import Window
from demo_control.mpc.perturbation import perturb_by_numpy
from demo_control.rollout.native.library import Kernel
from demo_control.rollout.native.perturbation import perturb


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("same_scale", [True, False])
@pytest.mark.parametrize("num_held", [0, 1, 5])
@pytest.mark.parametrize(
    ("samples", "actions", "centres"), [(1, 1, 1), (1, 3, 2), (7, 1, 2), (101, 20, 1), (64, 70, 2)]
)
def test_same_bits(
    kernel: Kernel,
    samples: int,
    actions: int,
    centres: int,
    num_held: int,
    same_scale: bool,
    limited: bool,
    sized: bool,
    bad: float,
) -> None:
    generator = np.random.default_rng(0)

    def numbers(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32)

    # Windows of a table, and one of several robots' samples.
    noise, scales = numbers(4, samples + 5, actions)[:, 3 : 3 + samples], numbers(4, 1 if same_scale else actions)
    sizes = numbers(samples, actions) if sized else None
    around = numbers(4, 3, centres, actions)[:, 1]
    limits = (-0.3 - np.abs(numbers(actions)), 0.3 + np.abs(numbers(actions))) if limited else None
    noise[-1, -1, -1] += np.float32(bad)
    around[1, 0, 0] += np.float32(bad)
    held = np.unique(np.linspace(0, samples - 1, num_held).astype(np.int64)) if num_held else None
    window = Window(noise, scales, sizes, held)
    found, expected = np.zeros((2, 4, 3, samples, actions), np.float32)
    perturb(kernel, found[:, 1], window, around, limits)
    perturb_by_numpy(expected[:, 1], window, around, limits)
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
