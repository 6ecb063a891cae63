"""Samples of a plan by the compiled kernel, in one pass."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from demo_control.rollout.native.library import Kernel, Pointer, address

Float32s = npt.NDArray[np.float32]


class Arrays(ctypes.Structure):
    """One call's arrays; 'Perturbation' in kernel/perturb.cpp."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "noise_stride", "samples_stride", "steps", "samples", "centres", "actions", "scales_of_step", "num_held",
        )
    ] + [
        (name, Pointer)
        for name in ("noise", "scales", "sizes", "held", "around", "lowest", "highest", "out")
    ]  # fmt: skip


def perturb(
    kernel: Kernel,
    out: Float32s,
    noise: Float32s,
    scales: Float32s,
    sizes: Float32s | None,
    held: npt.NDArray[np.int64] | None,
    centres: Float32s,
    limits: tuple[Float32s, Float32s] | None,
) -> None:
    """See :func:`demo_control.mpc.perturbation.perturb`; of ``noise`` and ``out`` each step must lie in C order.

    ``noise`` to ``held`` are those of :class:`demo_control.mpc.noise.Window`.

    Raises:
        MemoryError: No memory for a few hundred numbers.
    """
    steps, samples, actions = out.shape
    lowest, highest = (None, None) if limits is None else limits
    # Held until the call is over.
    arrays = (np.ascontiguousarray(scales), sizes, held, np.ascontiguousarray(centres), lowest, highest)
    addresses = [None if array is None else address(array) for array in arrays]
    given = Arrays(
        noise.strides[0], out.strides[0], steps, samples, centres.shape[1], actions, scales.shape[1],
        0 if held is None else len(held), address(noise[0]), *addresses, address(out[0]),
    )  # fmt: skip
    if kernel.functions.demo_native_perturb(ctypes.byref(given)):
        raise MemoryError("samples: no memory")
