"""Samples of a plan by the compiled kernel, in one pass."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from demo_control.rollout.native.library import Kernel, Pointer, address

Float32s = npt.NDArray[np.float32]


Noise = tuple[Float32s, Float32s, Float32s | None, npt.NDArray[np.int64] | None]
"""Noise, scales, sizes and held samples, as in :class:`demo_control.mpc.noise.Window`; of the noise each step must lie
in C order."""


class Perturbation(ctypes.Structure):
    """One call's arrays; see kernel/perturb.cpp."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "noise_stride", "samples_stride", "steps", "samples", "centres", "actions", "scales_of_step", "num_held",
        )
    ] + [
        (name, Pointer)
        for name in ("noise", "scales", "sizes", "held", "around", "lowest", "highest", "out")
    ]  # fmt: skip

    def take(self, noise: Noise, centres: Float32s) -> tuple[Float32s | npt.NDArray[np.int64] | None, ...]:
        """Take over what samples are made from.

        Args:
            noise: Of the samples.
            centres: Shape=(horizon, num_centres, action_dim).

        Returns:
            Arrays that must live until the call is over.
        """
        table, scales, sizes, held = noise
        scales, centres = np.ascontiguousarray(scales), np.ascontiguousarray(centres)
        self.noise_stride, self.noise = table.strides[0], address(table[0])
        self.scales_of_step, self.scales = scales.shape[1], address(scales)
        self.sizes = None if sizes is None else address(sizes)
        self.held = None if held is None else address(held)
        self.num_held = 0 if held is None else len(held)
        self.centres, self.around = centres.shape[1], address(centres)
        return scales, centres, sizes, held


def perturb(
    kernel: Kernel, out: Float32s, noise: Noise, centres: Float32s, limits: tuple[Float32s, Float32s] | None
) -> None:
    """See :func:`demo_control.mpc.perturbation.perturb`; of ``out`` each step must lie in C order, too.

    Raises:
        MemoryError: No memory for a few hundred numbers.
    """
    steps, samples, actions = out.shape
    lowest, highest = (None, None) if limits is None else map(address, limits)
    given = Perturbation(
        samples_stride=out.strides[0], steps=steps, samples=samples, actions=actions,
        lowest=lowest, highest=highest, out=address(out[0]),
    )  # fmt: skip
    needed = given.take(noise, centres)
    if kernel.functions.demo_native_perturb(ctypes.byref(given)):
        raise MemoryError("samples: no memory")
    del needed
